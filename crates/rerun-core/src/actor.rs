//! Who acts: a person or the system, in one account.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, UserId};
use crate::invalid::Invalid;
use crate::text;

/// The name of a person, for people: 1 to 200 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 200;

    /// # Errors
    /// [`Invalid`] for a name that is empty, too long, or has a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        if name.is_empty() || name.chars().nth(Self::MAX_LENGTH).is_some() {
            return Err(Invalid::new(format!(
                "`user_name` must have 1 to {} characters",
                Self::MAX_LENGTH
            )));
        }
        text::check_one_line("user_name", &name)?;
        Ok(Self(name))
    }

    /// The name as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserName {
    type Error = Invalid;

    fn try_from(name: String) -> Result<Self, Invalid> {
        Self::new(name)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

/// A signed-in person. The caller has verified who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The person.
    pub user_id: UserId,
    /// The person's name at this time, if it is known.
    pub user_name: Option<UserName>,
    /// The person's role: any text. It is kept in the audit log, and compared with the roles of
    /// approval stages.
    pub role_code: String,
    /// Where the person is, if that is known.
    pub ip: Option<IpAddr>,
}

impl Person {
    /// A person without a name and an IP address.
    #[must_use]
    pub fn new(user_id: UserId, role_code: impl Into<String>) -> Self {
        Self {
            user_id,
            user_name: None,
            role_code: role_code.into(),
            ip: None,
        }
    }
}

/// A person, or the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A person.
    Person(Person),
    /// The system itself: a worker, a schedule.
    System,
}

/// Who acts, in which account, and in which request. Every use case takes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The account that everything happens in.
    pub account_id: AccountId,
    /// Who acts.
    pub who: Who,
    /// The request, as logs and responses name it; `None` outside of requests.
    pub request_id: Option<String>,
}

impl Actor {
    /// A person, outside of a request.
    #[must_use]
    pub const fn person(account_id: AccountId, person: Person) -> Self {
        Self {
            account_id,
            who: Who::Person(person),
            request_id: None,
        }
    }

    /// The system.
    #[must_use]
    pub const fn system(account_id: AccountId) -> Self {
        Self {
            account_id,
            who: Who::System,
            request_id: None,
        }
    }

    /// The same, in a request.
    #[must_use]
    pub fn in_request(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// The person who acts; `None` for the system.
    #[must_use]
    pub const fn as_person(&self) -> Option<&Person> {
        match &self.who {
            Who::Person(person) => Some(person),
            Who::System => None,
        }
    }

    /// The user who acts; `None` for the system.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.as_person().map(|person| person.user_id)
    }

    /// The person who acts. `what` is something that only a person does.
    pub(crate) fn required_person(&self, what: &str) -> Result<&Person, Invalid> {
        self.as_person()
            .ok_or_else(|| Invalid::new(format!("only a person can {what}, not the system")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_200_characters_in_one_line() {
        let longest = "ü".repeat(200);
        assert_eq!(UserName::new(longest.as_str()).unwrap().as_str(), longest);
        for bad in ["", "a\nb", "a\0", &"x".repeat(201)] {
            assert!(UserName::new(bad).is_err(), "{bad:?}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<UserName>(&json).is_err(), "{bad:?}");
        }
    }
}
