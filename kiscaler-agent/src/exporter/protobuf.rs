//! As much of protocol buffers as the kubelet's pod resources need: fields of a message, read in place.
//!
//! The encoding is that of protobuf.dev, "Encoding": a key (field number and wire type) and a value, again and again.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// As text, if it is some.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Value::Number(_) => None,
        }
    }
}

/// The fields of a message, by number; `None` where the bytes are none.
pub(super) fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => Value::Bytes(take(&mut message, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(take(&mut message, length)?)
            }
            5 => Value::Bytes(take(&mut message, 4)?),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)?.first().copied()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_rubbish_is_refused() {
        // The example of protobuf.dev: field 1 is 150, field 2 is "testing".
        let message = [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        let read = fields(&message).unwrap();
        assert_eq!(read, [(1, Value::Number(150)), (2, Value::Bytes(b"testing"))]);
        assert_eq!(read[1].1.text(), Some("testing"));
        for length in [1, 2, 4, 11] {
            assert_eq!(fields(&message[..length]), None, "cut after {length}");
        }
        assert_eq!(fields(&[0x0b]), None, "groups are no more");
        assert_eq!(fields(&[0xff; 11]), None, "a number without an end");
        assert_eq!(fields(&[]), Some(Vec::new()));
    }
}
