//! As much of X.509 as checks need: how long a certificate holds, and whether a key is its own.
//!
//! Source: RFC 5280 (certificates), RFC 5958 and RFC 8017 (keys), RFC 5915 (keys on elliptic curves), X.690 (DER).

use std::time::{Duration, SystemTime};

use base64::Engine as _;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// When it begins to hold.
    pub(crate) not_before: SystemTime,
    /// When it ends.
    pub(crate) not_after: SystemTime,
    /// The public key's bits, as the certificate has them.
    key: Vec<u8>,
}

/// A private key, as far as it tells its public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrivateKey {
    /// The modulus of an RSA key, or the point of a key on an elliptic curve.
    public: Option<Vec<u8>>,
}

impl Certificate {
    /// The first certificate of a PEM text; `None` when there is none that can be read.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        Self::from_der(&pem(text, |label| label == "CERTIFICATE")?)
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let (certificate, rest) = expect(der, SEQUENCE)?;
        if !rest.is_empty() {
            return None;
        }
        let (mut fields, signature) = expect(certificate, SEQUENCE)?;
        expect(signature, SEQUENCE)?;
        if fields.first() == Some(&0xa0) {
            fields = element(fields)?.2;
        }
        let (_, fields) = expect(fields, INTEGER)?;
        let (_, fields) = expect(fields, SEQUENCE)?; // algorithm
        let (_, fields) = expect(fields, SEQUENCE)?; // issuer
        let (validity, fields) = expect(fields, SEQUENCE)?;
        let (_, fields) = expect(fields, SEQUENCE)?; // subject
        let (key, _) = expect(fields, SEQUENCE)?;
        let (_, bits) = expect(key, SEQUENCE)?;
        let (not_before, validity) = time(validity)?;
        let (not_after, _) = time(validity)?;
        Some(Self { not_before, not_after, key: bit_string(bits)?.to_vec() })
    }

    /// Whether a private key is that of the certificate; `None` when the key does not tell.
    pub(crate) fn belongs_to(&self, key: &PrivateKey) -> Option<bool> {
        let public = key.public.as_ref()?;
        Some(self.key == *public || modulus(&self.key).is_some_and(|modulus| modulus == public.as_slice()))
    }
}

impl PrivateKey {
    /// The first private key of a PEM text, in any of the usual forms; `None` when there is none that can be read.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let der = pem(text, |label| label.ends_with("PRIVATE KEY"))?;
        let (fields, rest) = expect(&der, SEQUENCE)?;
        let (_, after_version) = expect(fields, INTEGER)?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self { public: Self::public(fields, after_version) })
    }

    fn public(whole: &[u8], after_version: &[u8]) -> Option<Vec<u8>> {
        match element(after_version)? {
            // PKCS#8: the algorithm, then the key in its own form.
            (SEQUENCE, _, rest) => {
                let (inner, _) = expect(rest, OCTET_STRING)?;
                let (inner, _) = expect(inner, SEQUENCE)?;
                let (_, after_version) = expect(inner, INTEGER)?;
                Self::public(inner, after_version)
            }
            // RSA: the modulus comes first.
            (INTEGER, modulus, _) => Some(modulus.to_vec()),
            // A curve: the point stands behind the tag [1], if at all.
            (OCTET_STRING, _, _) => {
                let mut rest = whole;
                while let Some((tag, content, next)) = element(rest) {
                    if tag == 0xa1 {
                        return bit_string(content).map(<[u8]>::to_vec);
                    }
                    rest = next;
                }
                None
            }
            _ => None,
        }
    }
}

/// The modulus of an RSA key in a certificate.
fn modulus(key: &[u8]) -> Option<&[u8]> {
    let (fields, _) = expect(key, SEQUENCE)?;
    Some(expect(fields, INTEGER)?.0)
}

/// The content of the first PEM block with a fitting label.
fn pem(text: &str, fits: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once("-----END ")?;
        if fits(label) {
            let compact: String = body.split_whitespace().collect();
            return base64::engine::general_purpose::STANDARD.decode(compact).ok();
        }
        rest = after;
    }
}

/// The tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = der else { return None };
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let count = usize::from(*length & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let (digits, rest) = rest.split_at(count);
        (digits.iter().fold(0_usize, |size, byte| (size << 8) | usize::from(*byte)), rest)
    };
    (rest.len() >= length).then(|| (*tag, &rest[..length], &rest[length..]))
}

fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// The bytes of a bit string that has no unused bits.
fn bit_string(der: &[u8]) -> Option<&[u8]> {
    let (content, _) = expect(der, BIT_STRING)?;
    content.strip_prefix(&[0])
}

fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (tag, content, rest) = element(der)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, text) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: i64 = text[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| text[at..at + 2].parse::<i64>().ok();
    let days = days_since_1970(year, part(0)?, part(2)?);
    let seconds = days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?;
    let span = Duration::from_secs(seconds.unsigned_abs());
    let instant =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(span) } else { SystemTime::UNIX_EPOCH.checked_add(span) };
    Some((instant?, rest))
}

/// Days of the Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut out = vec![tag, 0x82];
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    fn armour(label: &str, der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn certificate(key: &[u8]) -> String {
        let empty = der(SEQUENCE, &[]);
        let validity =
            der(SEQUENCE, &[&der(UTC_TIME, &[b"700102000000Z"]), &der(GENERALIZED_TIME, &[b"20000229010203Z"])]);
        let key = der(SEQUENCE, &[&empty, &der(BIT_STRING, &[&[0], key])]);
        let fields = [&der(INTEGER, &[&[7]])[..], &empty, &empty, &validity, &empty, &key];
        armour("CERTIFICATE", &der(SEQUENCE, &[&der(SEQUENCE, &fields), &empty, &der(BIT_STRING, &[&[0]])]))
    }

    #[test]
    fn reads_how_long_a_certificate_holds() {
        let read = Certificate::from_pem(&certificate(b"point")).unwrap();
        assert_eq!(read.not_before, SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
        // 2000-02-29T01:02:03Z, by `date -u -d ... +%s`.
        assert_eq!(read.not_after, SystemTime::UNIX_EPOCH + Duration::from_secs(951_786_123));
    }

    #[test]
    fn tells_keys_apart() {
        let rsa = |modulus: &[u8]| der(SEQUENCE, &[&der(INTEGER, &[modulus]), &der(INTEGER, &[&[3]])]);
        let own = Certificate::from_pem(&certificate(&rsa(b"mod"))).unwrap();
        let version = der(INTEGER, &[&[0]]);
        let pkcs1 = |modulus: &[u8]| der(SEQUENCE, &[&version, &der(INTEGER, &[modulus])]);
        let key = |label: &str, der: &[u8]| PrivateKey::from_pem(&armour(label, der)).unwrap();
        assert_eq!(own.belongs_to(&key("RSA PRIVATE KEY", &pkcs1(b"mod"))), Some(true));
        assert_eq!(own.belongs_to(&key("RSA PRIVATE KEY", &pkcs1(b"other"))), Some(false));
        let wrapped = der(SEQUENCE, &[&version, &der(SEQUENCE, &[]), &der(OCTET_STRING, &[&pkcs1(b"mod")])]);
        assert_eq!(own.belongs_to(&key("PRIVATE KEY", &wrapped)), Some(true));
        let curve = Certificate::from_pem(&certificate(b"point")).unwrap();
        let point = |point: &[u8]| der(0xa1, &[&der(BIT_STRING, &[&[0], point])]);
        let sec1 = |part: &[u8]| der(SEQUENCE, &[&version, &der(OCTET_STRING, &[b"secret"]), part]);
        assert_eq!(curve.belongs_to(&key("EC PRIVATE KEY", &sec1(&point(b"point")))), Some(true));
        assert_eq!(curve.belongs_to(&key("EC PRIVATE KEY", &sec1(&point(b"other")))), Some(false));
        assert_eq!(curve.belongs_to(&key("EC PRIVATE KEY", &sec1(&[]))), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_none() {
        for text in ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"]
        {
            assert_eq!(Certificate::from_pem(text), None, "{text}");
        }
    }
}
