//! Durations in settings as whole numbers, with the unit in the setting's name: `#[serde(with = "units::seconds")]`.

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $from:ident, $to:ident) => {
        $(#[$doc])*
        pub mod $name {
            use core::time::Duration;

            use serde::{Deserialize as _, Deserializer, Serializer, ser::Error as _};

            /// Writes the number; parts of the unit are lost.
            ///
            /// # Errors
            /// When the number does not fit into 64 bits.
            pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
                let count = u64::try_from(value.$to()).map_err(|_| S::Error::custom("the duration is too long"))?;
                serializer.serialize_u64(count)
            }

            /// Reads the number.
            ///
            /// # Errors
            /// When there is none.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
                u64::deserialize(deserializer).map(Duration::$from)
            }
        }
    };
}

unit!(
    /// Whole seconds.
    seconds, from_secs, as_secs
);
unit!(
    /// Whole milliseconds.
    milliseconds, from_millis, as_millis
);
