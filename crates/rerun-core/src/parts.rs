//! Records whose fields must fit each other.

/// Wraps a struct of fields that has a method `check`. Everybody can read the fields. Nobody can change
/// one in place: `with` changes them and checks the result.
macro_rules! checked {
    ($(#[$meta:meta])* $name:ident, $parts:ident) => {
        $(#[$meta])*
        pub struct $name($parts);

        impl $name {
            /// Makes one from its fields, for example as a store has read them.
            ///
            /// # Errors
            /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) if they contradict each other.
            pub fn from_parts(parts: $parts) -> Result<Self, crate::StoreError> {
                parts.check()?;
                Ok(Self(parts))
            }

            /// Returns the fields.
            #[must_use]
            pub fn into_parts(self) -> $parts {
                self.0
            }

            /// Returns it with changed fields.
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
