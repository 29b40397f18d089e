//! Which roles may do what.

use std::collections::BTreeMap;

use rerun_core::ports::Permissions;

use rerun_wire::endpoints::{ENDPOINTS, RERUN_INITIATE, SCHEDULE_CREATE, SCHEDULE_TRIGGER};

/// The roles that some actions are left to; who may do an action that no rule names is not
/// restricted. A role is compared exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleRules {
    /// The roles, by the endpoints' paths.
    by_path: BTreeMap<&'static str, Vec<String>>,
}

impl RoleRules {
    /// Reads rules such as `initiate=ADMIN,EDITOR; publish=ADMIN`. Blanks around names mean
    /// nothing.
    ///
    /// # Errors
    /// What is wrong, to follow the word "must".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut by_path = BTreeMap::new();
        for rule in text
            .split(';')
            .map(str::trim)
            .filter(|rule| !rule.is_empty())
        {
            let (action, names) = rule.split_once('=').ok_or_else(|| {
                format!(
                    "hold rules such as `initiate=ADMIN,EDITOR`, with `;` between them, and \
                     `{rule}` is none"
                )
            })?;
            let action = action.trim();
            let names: Vec<String> = names
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect();
            if names.iter().any(String::is_empty) {
                return Err(format!("name roles for `{action}`, with `,` between them"));
            }
            let path = path_of(action).ok_or_else(|| no_action(action))?;
            if by_path.insert(path, names).is_some() {
                return Err(format!("have one rule for `{action}`"));
            }
        }
        if by_path.is_empty() {
            return Err("hold at least one rule, such as `initiate=ADMIN,EDITOR`".to_owned());
        }
        Ok(Self { by_path })
    }

    /// Whether the role may call the endpoint with this path. With rules, nobody may call what is
    /// no endpoint.
    #[must_use]
    pub fn admit(&self, path: Option<&str>, role: &str) -> bool {
        self.by_path.is_empty()
            || path.is_some_and(|path| {
                let starts_reruns = [SCHEDULE_CREATE.path, SCHEDULE_TRIGGER.path].contains(&path);
                self.names(path, role) && (!starts_reruns || self.may_initiate(role))
            })
    }

    /// Whether the rule for a path, if there is one, names the role.
    fn names(&self, path: &str, role: &str) -> bool {
        let roles = self.by_path.get(path);
        roles.is_none_or(|roles| roles.iter().any(|admitted| admitted == role))
    }

    /// Returns the names of the actions that the role may do.
    pub(crate) fn actions_of(&self, role: &str) -> Vec<String> {
        actions()
            .filter(|(_, path)| self.admit(Some(path), role))
            .map(|(name, _)| name)
            .collect()
    }

    /// Whether there are rules at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }
}

impl Permissions for RoleRules {
    fn may_initiate(&self, role_code: &str) -> bool {
        self.names(RERUN_INITIATE.path, role_code)
    }
}

fn actions() -> impl Iterator<Item = (String, &'static str)> {
    ENDPOINTS
        .iter()
        .filter_map(|endpoint| Some((endpoint.action()?, endpoint.path)))
}

fn path_of(action: &str) -> Option<&'static str> {
    let mut found = actions().filter(|(name, _)| name == action);
    found.next().map(|(_, path)| path)
}

fn no_action(action: &str) -> String {
    let mut names: Vec<String> = actions().map(|(name, _)| name).collect();
    names.sort_unstable();
    format!(
        "name actions that there are, and `{action}` is none; there are {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_guarded_endpoint_is_an_action_of_its_own() {
        let names: BTreeSet<String> = actions().map(|(name, _)| name).collect();
        let guarded = ENDPOINTS
            .iter()
            .filter(|endpoint| endpoint.path.starts_with("/v1/"));
        assert_eq!(names.len(), guarded.count());
        for name in [
            "initiate",
            "history",
            "create",
            "publish",
            "messages_review",
            "customer_group_import",
            "audit_list",
        ] {
            assert!(names.contains(name), "{name} of {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("health")));
    }

    #[test]
    fn rules_name_actions_and_roles() {
        let rules = RoleRules::parse(" initiate = ADMIN , EDITOR;publish=ADMIN; ").unwrap();
        let initiate = Some("/v1/campaign/rerun/initiate");
        let publish = Some("/v1/campaign/publish");
        for (path, role, admitted) in [
            (initiate, "ADMIN", true),
            (initiate, "EDITOR", true),
            (initiate, "editor", false),
            (initiate, "VIEWER", false),
            (publish, "EDITOR", false),
            (Some("/v1/campaign/get"), "VIEWER", true),
            (None, "ADMIN", false),
        ] {
            assert_eq!(rules.admit(path, role), admitted, "{path:?} {role}");
        }
        assert!(RoleRules::default().admit(None, "anybody"));
    }

    #[test]
    fn who_may_not_initiate_may_not_have_a_schedule_do_it() {
        let rules = RoleRules::parse("initiate=ADMIN;schedule_trigger=ADMIN,EDITOR").unwrap();
        for path in ["/v1/schedule/create", "/v1/schedule/trigger"] {
            assert!(rules.admit(Some(path), "ADMIN"), "{path}");
            assert!(!rules.admit(Some(path), "EDITOR"), "{path}");
        }
        assert!(rules.admit(Some("/v1/schedule/pause"), "EDITOR"));
        assert!(rules.may_initiate("ADMIN") && !rules.may_initiate("EDITOR"));
        assert!(RoleRules::default().may_initiate("EDITOR"));
    }

    #[test]
    fn bad_rules_are_named() {
        for (text, said) in [
            ("", "at least one rule"),
            (" ; ", "at least one rule"),
            ("initiate", "`initiate` is none"),
            ("initiate=", "roles for `initiate`"),
            ("initiate=ADMIN,,EDITOR", "roles for `initiate`"),
            ("initate=ADMIN", "`initate` is none; there are archive"),
            ("Initiate=ADMIN", "`Initiate` is none"),
            ("/v1/campaign/rerun/initiate=ADMIN", "is none"),
            ("initiate=A;initiate=B", "one rule for `initiate`"),
        ] {
            let wrong = RoleRules::parse(text).unwrap_err();
            assert!(wrong.contains(said), "{text:?}: {wrong}");
        }
        let wrong = RoleRules::parse("x=A").unwrap_err();
        let (_, listed) = wrong.split_once("there are ").unwrap();
        let listed: BTreeSet<&str> = listed.split(", ").collect();
        let known: Vec<String> = actions().map(|(name, _)| name).collect();
        assert_eq!(listed, known.iter().map(String::as_str).collect());
    }
}
