use serde::{Deserialize, Serialize};

use crate::invalid::Invalid;
use crate::text;

/// A campaign's named approval stages, passed in order: 1 to 16 distinct names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ApprovalStages(Vec<String>);

impl TryFrom<Vec<String>> for ApprovalStages {
    type Error = Invalid;

    fn try_from(names: Vec<String>) -> Result<Self, Invalid> {
        Self::new(&names)
    }
}

impl From<ApprovalStages> for Vec<String> {
    fn from(stages: ApprovalStages) -> Self {
        stages.0
    }
}

impl ApprovalStages {
    /// The most stages.
    pub const MAX: usize = 16;
    /// The longest stage name, in characters.
    pub const MAX_NAME_LENGTH: usize = 100;

    /// # Errors
    /// [`Invalid`] when there are none or too many, or a name is blank, too long or doubled.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Self, Invalid> {
        if names.is_empty() || names.len() > Self::MAX {
            return Err(Invalid::new(format!(
                "`approval_stages` takes 1 to {} names, not {}",
                Self::MAX,
                names.len()
            )));
        }
        let mut stages: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            let name = text::name("approval_stages", name.as_ref(), Self::MAX_NAME_LENGTH)?;
            if stages.contains(&name) {
                return Err(Invalid::new(format!(
                    "`approval_stages` names `{name}` twice"
                )));
            }
            stages.push(name);
        }
        Ok(Self(stages))
    }

    /// The names in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The name of a stage.
    #[must_use]
    pub fn name(&self, stage: u8) -> Option<&str> {
        self.0.get(usize::from(stage)).map(String::as_str)
    }

    /// The number of the stage that has this name.
    ///
    /// # Errors
    /// [`Invalid`] when there is none. It names the stages that there are.
    pub fn number(&self, name: &str) -> Result<u8, Invalid> {
        let name = text::name("stage", name, Self::MAX_NAME_LENGTH)?;
        self.numbers()
            .find(|stage| self.name(*stage) == Some(&name))
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`stage`: the campaign has no stage `{name}`; its stages are: {}",
                    self.0.join(", ")
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

impl Default for ApprovalStages {
    fn default() -> Self {
        Self(vec!["Review".to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_checked_when_they_are_deserialised() {
        let read = |json: &str| serde_json::from_str::<ApprovalStages>(json);
        let stages = read(r#"["Brand", "Legal"]"#).unwrap();
        assert_eq!(stages.names(), ["Brand", "Legal"]);
        assert_eq!(
            serde_json::to_string(&stages).unwrap(),
            r#"["Brand","Legal"]"#
        );
        for bad in ["[]", r#"["a", "a"]"#, r#"[" "]"#, r#""Review""#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_the_names_of_all_stages() {
        let stages = ApprovalStages::new(&["Brand", "Legal"]).unwrap();
        assert_eq!(stages.names(), ["Brand", "Legal"]);
        assert_eq!(ApprovalStages::default().names(), ["Review"]);
    }
}
