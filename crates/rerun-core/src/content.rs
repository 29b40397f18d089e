use serde::{Deserialize, Serialize};

use crate::invalid::Invalid;
use crate::page::{Contents, json_bytes};
use crate::text;

/// What a message says. Stored content never changes; an edit makes new content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Subject line.
    pub subject: String,
    /// Body.
    pub body: String,
}

impl Content {
    /// The longest subject, in characters.
    pub const MAX_SUBJECT_LENGTH: usize = 1_000;
    /// The longest body, in characters.
    pub const MAX_BODY_LENGTH: usize = 200_000;

    /// The longest placeholder that an error shows, in characters.
    const MAX_PLACEHOLDER_LENGTH: usize = 100;

    /// Whether it can be a message's content.
    ///
    /// # Errors
    /// [`Invalid`] for a blank subject or body, one that is too long, a NUL character, or a subject
    /// that is not one line.
    pub fn check(&self) -> Result<(), Invalid> {
        let parts = [
            ("subject", &self.subject, Self::MAX_SUBJECT_LENGTH),
            ("body", &self.body, Self::MAX_BODY_LENGTH),
        ];
        for (field, content, max) in parts {
            text::check(field, content)?;
            if content.trim().is_empty() {
                return Err(Invalid::new(format!("`{field}` must not be blank")));
            }
            if content.chars().nth(max).is_some() {
                return Err(Invalid::new(format!(
                    "`{field}` may have at most {max} characters"
                )));
            }
        }
        text::check_one_line("subject", &self.subject)
    }

    /// What a generator made, as a message can have it: with the subject in one line.
    ///
    /// # Errors
    /// [`Invalid`] as by [`Content::check`], and when a placeholder is unfilled.
    pub fn generated(self) -> Result<Self, Invalid> {
        let content = Self {
            subject: text::one_line(self.subject),
            body: self.body,
        };
        content.check()?;
        content.check_filled()?;
        Ok(content)
    }

    /// Whether it can be approved: no placeholder is left in it.
    ///
    /// # Errors
    /// [`Invalid`] naming the first placeholder.
    pub fn check_filled(&self) -> Result<(), Invalid> {
        match self.placeholder() {
            None => Ok(()),
            Some(placeholder) => Err(Invalid::new(format!(
                "the placeholder `{}` is unfilled",
                text::excerpt(placeholder)
            ))),
        }
    }

    /// The first placeholder that is left unfilled: what is between `{{` and the next `}}` of the
    /// subject, else of the body, with these braces. Of a long one, the first 100 characters. Stores
    /// keep it with the content, so that approving reads no texts.
    #[must_use]
    pub fn placeholder(&self) -> Option<&str> {
        [&self.subject, &self.body].into_iter().find_map(|text| {
            let (_, after) = text.split_once("{{")?;
            let length = after.find("}}")? + 4;
            let found = text.get(text.len() - after.len() - 2..)?.get(..length)?;
            let end = found.char_indices().nth(Self::MAX_PLACEHOLDER_LENGTH);
            end.map_or(Some(found), |(end, _)| found.get(..end))
        })
    }
}

impl Contents for Content {
    fn bytes(&self) -> usize {
        json_bytes(&self.subject) + json_bytes(&self.body)
    }
}
