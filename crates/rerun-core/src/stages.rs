use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::page::json_bytes;
use crate::text;

/// An approval stage as a campaign declares it: a name alone, or a name and the roles that can pass
/// the stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// The roles that can pass it; `None`: every role can.
    pub roles: Option<Vec<String>>,
}

impl Stage {
    /// A stage that only these roles can pass.
    pub fn of_roles<R: Into<String>>(
        name: impl Into<String>,
        roles: impl IntoIterator<Item = R>,
    ) -> Self {
        Self {
            name: name.into(),
            roles: Some(roles.into_iter().map(Into::into).collect()),
        }
    }

    fn checked(self) -> Result<Self, Invalid> {
        let name = text::name(
            "approval_stages",
            &self.name,
            ApprovalStages::MAX_NAME_LENGTH,
        )?;
        let roles = self
            .roles
            .as_deref()
            .map(|roles| checked_roles(&name, roles));
        Ok(Self {
            roles: roles.transpose()?,
            name,
        })
    }
}

fn checked_roles(stage: &str, roles: &[String]) -> Result<Vec<String>, Invalid> {
    if roles.is_empty() || roles.len() > ApprovalStages::MAX_ROLES {
        return Err(Invalid::new(format!(
            "`approval_stages`: the stage `{stage}` takes 1 to {} roles, not {}",
            ApprovalStages::MAX_ROLES,
            roles.len()
        )));
    }
    let mut checked: Vec<String> = Vec::with_capacity(roles.len());
    for role in roles {
        let role = text::name("approval_stages", role, ApprovalStages::MAX_NAME_LENGTH)?;
        if checked.contains(&role) {
            return Err(Invalid::new(format!(
                "`approval_stages`: the stage `{stage}` names the role `{role}` twice"
            )));
        }
        checked.push(role);
    }
    Ok(checked)
}

impl From<String> for Stage {
    fn from(name: String) -> Self {
        Self { name, roles: None }
    }
}

impl From<&str> for Stage {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// A stage with roles, as it is written.
#[derive(Serialize, Deserialize)]
struct OfRoles {
    name: String,
    roles: Vec<String>,
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.roles {
            None => serializer.serialize_str(&self.name),
            Some(roles) => OfRoles {
                name: self.name.clone(),
                roles: roles.clone(),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;

        impl<'de> Visitor<'de> for Item {
            type Value = Stage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with `name` and `roles`")
            }

            fn visit_str<E>(self, name: &str) -> Result<Stage, E> {
                Ok(name.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Stage, A::Error> {
                let stage = OfRoles::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Stage {
                    name: stage.name,
                    roles: Some(stage.roles),
                })
            }
        }

        deserializer.deserialize_any(Item)
    }
}

/// A campaign's approval stages, passed in order: 1 to 16 of distinct names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Stage>", into = "Vec<Stage>")]
pub struct ApprovalStages(Vec<Stage>);

impl TryFrom<Vec<Stage>> for ApprovalStages {
    type Error = Invalid;

    fn try_from(stages: Vec<Stage>) -> Result<Self, Invalid> {
        Self::declare(stages)
    }
}

impl From<ApprovalStages> for Vec<Stage> {
    fn from(stages: ApprovalStages) -> Self {
        stages.0
    }
}

impl ApprovalStages {
    /// The most stages.
    pub const MAX: usize = 16;
    /// The most roles that a stage names.
    pub const MAX_ROLES: usize = 16;
    /// The longest name of a stage or a role, in characters.
    pub const MAX_NAME_LENGTH: usize = 100;

    /// Stages of these names, each of which every role can pass.
    ///
    /// # Errors
    /// [`Invalid`] when there are none or too many, or a name is blank, too long or doubled.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Self, Invalid> {
        Self::declare(names.iter().map(|name| name.as_ref().into()).collect())
    }

    /// These stages.
    ///
    /// # Errors
    /// [`Invalid`] when there are none or too many, or a name of a stage or a role is blank, too long
    /// or doubled, or a stage has an empty list of roles.
    pub fn declare(declared: Vec<Stage>) -> Result<Self, Invalid> {
        if declared.is_empty() || declared.len() > Self::MAX {
            return Err(Invalid::new(format!(
                "`approval_stages` takes 1 to {} names, not {}",
                Self::MAX,
                declared.len()
            )));
        }
        let mut stages: Vec<Stage> = Vec::with_capacity(declared.len());
        for stage in declared {
            let stage = stage.checked()?;
            if stages.iter().any(|known| known.name == stage.name) {
                return Err(Invalid::new(format!(
                    "`approval_stages` names `{}` twice",
                    stage.name
                )));
            }
            stages.push(stage);
        }
        Ok(Self(stages))
    }

    /// The names in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|stage| stage.name.as_str()).collect()
    }

    /// The bytes that the stages have in JSON, at most.
    pub(crate) fn bytes(&self) -> usize {
        let roles = |stage: &Stage| -> usize {
            let roles = stage.roles.iter().flatten();
            roles.map(|role| json_bytes(role) + 3).sum()
        };
        // `{"name":"","roles":[]},`
        let stage = |stage: &Stage| json_bytes(&stage.name) + roles(stage) + 23;
        self.0.iter().map(stage).sum()
    }

    /// Whether somebody of this role can pass a stage.
    #[must_use]
    pub fn can_pass(&self, stage: u8, role: &str) -> bool {
        let stage = self.0.get(usize::from(stage));
        let roles = stage.and_then(|stage| stage.roles.as_ref());
        roles.is_none_or(|roles| roles.iter().any(|allowed| allowed == role))
    }

    /// The name of a stage.
    #[must_use]
    pub fn name(&self, stage: u8) -> Option<&str> {
        self.0
            .get(usize::from(stage))
            .map(|stage| stage.name.as_str())
    }

    /// The number of the stage that has this name. `field` is where the request has it.
    ///
    /// # Errors
    /// [`Invalid`] when there is none. It names the stages that there are.
    pub fn number(&self, field: &str, name: &str) -> Result<u8, Invalid> {
        let name = text::name(field, name, Self::MAX_NAME_LENGTH)?;
        self.numbers()
            .find(|stage| self.name(*stage) == Some(&name))
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`{field}`: the campaign has no stage `{name}`; its stages are: {}",
                    self.names().join(", ")
                ))
            })
    }

    /// The stage after `stage`; `None` when it was the last.
    #[must_use]
    pub fn after(&self, stage: u8) -> Option<u8> {
        let next = stage.checked_add(1)?;
        (usize::from(next) < self.0.len()).then_some(next)
    }

    /// Every stage's number, from 0.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).take(self.0.len())
    }
}

/// One stage, `Review`.
impl Default for ApprovalStages {
    fn default() -> Self {
        Self(vec!["Review".into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_1_to_16_stages_and_each_has_its_number() {
        let stages = |number: usize| {
            let names: Vec<String> = (0..number).map(|n| format!("s{n}")).collect();
            ApprovalStages::new(&names)
        };
        assert!(stages(0).is_err() && stages(17).is_err() && stages(18).is_err());
        let most = stages(16).unwrap();
        assert!(most.numbers().eq(0..16));
        assert_eq!(most.number("stage", " s15 ").unwrap(), 15);
        assert_eq!(most.number("stage", "s0").unwrap(), 0);
        assert!(most.number("stage", "s16").is_err());
    }

    #[test]
    fn stages_are_checked_when_they_are_deserialised() {
        let read = |json: &str| serde_json::from_str::<ApprovalStages>(json);
        let stages = read(r#"["Brand", "Legal"]"#).unwrap();
        assert_eq!(stages.names(), ["Brand", "Legal"]);
        assert_eq!(
            serde_json::to_string(&stages).unwrap(),
            r#"["Brand","Legal"]"#
        );
        for bad in [
            "[]",
            r#"["a", "a"]"#,
            r#"[" "]"#,
            r#""Review""#,
            r#"[["a"]]"#,
            r#"[{"name": "a"}]"#,
            r#"[{"roles": ["A"]}]"#,
            r#"[{"name": "a", "roles": []}]"#,
            r#"[{"name": "a", "roles": null}]"#,
            r#"[{"name": "a", "roles": "A"}]"#,
            r#"[{"name": "a", "roles": [" "]}]"#,
            r#"[{"name": "a", "roles": ["A", "A "]}]"#,
            r#"["a", {"name": "a", "roles": ["A"]}]"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let roles = |number: usize| {
            let many: Vec<String> = (0..number).map(|n| n.to_string()).collect();
            ApprovalStages::declare(vec![Stage::of_roles("a", many)])
        };
        assert!(roles(ApprovalStages::MAX_ROLES).is_ok());
        assert!(roles(ApprovalStages::MAX_ROLES + 1).is_err());
        let refused = read("[1]").unwrap_err().to_string();
        assert!(refused.contains("expected"), "{refused}");
        assert!(!refused.contains("expected  at"), "{refused}");
    }

    #[test]
    fn stages_are_written_as_they_were_declared() {
        let json = r#"["Brand",{"name":"Legal","roles":["LAWYER","ADMIN"]}]"#;
        let stages: ApprovalStages = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&stages).unwrap(), json);
        assert!(stages.bytes() >= json.len() - 2, "{}", stages.bytes());
        for (stage, role, allowed) in [
            (0, "EDITOR", true),
            (1, "EDITOR", false),
            (1, "LAWYER", true),
            (1, "lawyer", false),
        ] {
            assert_eq!(stages.can_pass(stage, role), allowed, "{stage} {role}");
        }
    }

    #[test]
    fn names_are_the_names_of_all_stages() {
        let stages = ApprovalStages::new(&["Brand", "Legal"]).unwrap();
        assert_eq!(stages.names(), ["Brand", "Legal"]);
        assert_eq!(ApprovalStages::default().names(), ["Review"]);
    }
}
