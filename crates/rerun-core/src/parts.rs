//! Values whose fields must fit each other.

/// Makes a type of a struct of parts that has `check`. Everybody can read the fields; they change together
/// only, and are checked then.
macro_rules! checked {
    ($(#[$meta:meta])* $name:ident, $parts:ident) => {
        $(#[$meta])*
        pub struct $name($parts);

        impl $name {
            /// Takes the fields, as a store has read them.
            ///
            /// # Errors
            /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) if they contradict each other.
            pub fn from_parts(parts: $parts) -> Result<Self, crate::StoreError> {
                parts.check()?;
                Ok(Self(parts))
            }

            /// Gives the fields away.
            #[must_use]
            pub fn into_parts(self) -> $parts {
                self.0
            }

            /// Changes fields.
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($name), "::from_parts`].")]
            pub fn with(self, change: impl FnOnce(&mut $parts)) -> Result<Self, crate::StoreError> {
                let mut parts = self.0;
                change(&mut parts);
                Self::from_parts(parts)
            }
        }

        impl std::ops::Deref for $name {
            type Target = $parts;

            fn deref(&self) -> &$parts {
                &self.0
            }
        }
    };
}

pub(crate) use checked;
