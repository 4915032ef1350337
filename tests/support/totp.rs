//! What an authenticator does with the secret of a second factor.

use std::time::SystemTime;

/// The code that a device shows `steps` of half a minute from now: the server takes its neighbours, too, and none twice.
pub fn code(secret: &str, steps: u64) -> String {
    let mut bits = 0_u64;
    let (mut count, mut bytes) = (0, Vec::new());
    for c in secret.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|own| *own == c).expect("base32");
        bits = (bits << 5) | value as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    let secret: [u8; 20] = bytes.try_into().expect("twenty bytes");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    totp_rs::Builder::new()
        .with_secret(secret)
        .build()
        .expect("an authenticator")
        .generate(now + 30 * steps)
        .to_string()
}
