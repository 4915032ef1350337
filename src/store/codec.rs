//! How keys and values become bytes.
//!
//! Keys are big-endian, so that their order in the file is their order in life. Values are one version byte and then
//! bincode; reading demands the version, a size limit (a damaged length must not ask for a terabyte) and that every
//! byte was used. Used by [`super::tx`] only.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::id::{AuditId, BlueprintId, BuildId, JobId, OverlayId, ReservationId, ServerId, TokenId, UserId};

/// Most bytes of one value: far above the largest blueprint (500 lines of 1,024 characters, twice).
const VALUE_MAX: usize = 8 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<VALUE_MAX>> = standard().with_limit::<VALUE_MAX>();

/// A key of a table.
pub trait Key: Sized {
    /// Bytes it always takes; `None`: it takes the rest, so it must be the last part.
    const LEN: Option<usize>;
    /// Appends the bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads all of `bytes`.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// The bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN.unwrap_or(32));
        self.put(&mut out);
        out
    }
}

macro_rules! number_keys {
    ($($ty:ty),+) => {$(
        impl Key for $ty {
            const LEN: Option<usize> = Some(size_of::<$ty>());
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(<$ty>::from_be_bytes)
            }
        }
    )+};
}
number_keys!(u8, u16, u64);

macro_rules! id_keys {
    ($($ty:ty),+) => {$(
        impl Key for $ty {
            const LEN: Option<usize> = Some(8);
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn read(bytes: &[u8]) -> Option<Self> {
                u64::read(bytes).map(Self)
            }
        }
    )+};
}
id_keys!(AuditId, BlueprintId, BuildId, JobId, OverlayId, ReservationId, ServerId, TokenId, UserId);

impl Key for [u8; 32] {
    const LEN: Option<usize> = Some(32);
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl Key for String {
    const LEN: Option<usize> = None;
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    const LEN: Option<usize> = match (A::LEN, B::LEN) {
        (Some(a), Some(b)) => Some(a + b),
        (Some(_), None) | (None, Some(_) | None) => None,
    };
    fn put(&self, out: &mut Vec<u8>) {
        const { assert!(A::LEN.is_some(), "only the last part of a key may vary in length") };
        self.0.put(out);
        self.1.put(out);
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_at_checked(A::LEN?)?;
        Some((A::read(first)?, B::read(rest)?))
    }
}

/// The bytes of a value.
pub(super) fn encode<V: Serialize>(version: u8, value: &V) -> Result<Vec<u8>, String> {
    let mut out = vec![version];
    out.extend(bincode::serde::encode_to_vec(value, CONFIG).map_err(|error| error.to_string())?);
    if out.len() > VALUE_MAX {
        return Err(format!("the record would take {} bytes; at most {VALUE_MAX} are allowed", out.len()));
    }
    Ok(out)
}

/// The value of the bytes, or what is wrong with them.
pub(super) fn decode<V: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<V, String> {
    let (found, rest) = bytes.split_first().ok_or("the record is empty")?;
    if *found != version {
        return Err(format!("the record has form {found}, expected {version}"));
    }
    let (value, used) = bincode::serde::decode_from_slice(rest, CONFIG).map_err(|error| error.to_string())?;
    if used != rest.len() {
        return Err(format!("the record has {} bytes too many", rest.len() - used));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_of_a_terabyte_is_refused_without_asking_for_it() {
        // Version, then a varint length of 2^40 and nothing behind it.
        let mut bytes = vec![1, 253];
        bytes.extend((1u64 << 40).to_le_bytes());
        assert!(decode::<String>(1, &bytes).is_err());
        assert!(decode::<Vec<u8>>(1, &bytes).is_err());
    }

    #[test]
    fn a_byte_too_many_and_a_wrong_version_are_refused() {
        let mut bytes = encode(1, &"x".to_owned()).unwrap();
        assert_eq!(decode::<String>(1, &bytes).unwrap(), "x");
        assert!(decode::<String>(2, &bytes).unwrap_err().contains("form 1"));
        bytes.push(0);
        assert!(decode::<String>(1, &bytes).unwrap_err().contains("too many"));
        assert!(decode::<String>(1, &[]).is_err());
    }

    proptest! {
        #[test]
        fn keys_sort_in_the_file_as_they_do_in_life(a in any::<(u64, String)>(), b in any::<(u64, String)>()) {
            prop_assert_eq!(a.bytes().cmp(&b.bytes()), a.cmp(&b));
            prop_assert_eq!(<(u64, String)>::read(&a.bytes()), Some(a));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<crate::model::job::Job>(1, &bytes);
            let _ = decode::<crate::model::user::User>(1, &bytes);
        }
    }
}
