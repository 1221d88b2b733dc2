//! [`JwsKey`]: signs tokens in compact form (RFC 7515 section 3.1).

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::spiffe::{JwtAlgorithm, KeyError, PrivateKey};

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A private key ready to sign tokens, with its id: the SHA-256 of its public half, in base64url.
pub(crate) struct JwsKey {
    pair: Pair,
    algorithm: JwtAlgorithm,
    key_id: String,
    public_key_der: Vec<u8>,
}

impl JwsKey {
    /// Takes an ECDSA key on P-256 (ES256) or P-384 (ES384), or an RSA key (RS256).
    pub(crate) fn new(key: &PrivateKey) -> Result<Self, KeyError> {
        let der = key.as_pkcs8_der();
        let ec = |scheme| EcdsaKeyPair::from_pkcs8(scheme, der).map(Pair::Ec);
        let (pair, algorithm) = if let Ok(pair) = ec(&ECDSA_P256_SHA256_FIXED_SIGNING) {
            (pair, JwtAlgorithm::Es256)
        } else if let Ok(pair) = ec(&ECDSA_P384_SHA384_FIXED_SIGNING) {
            (pair, JwtAlgorithm::Es384)
        } else {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?;
            (Pair::Rsa(pair), JwtAlgorithm::Rs256)
        };
        let public_key_der = key.public_key_der()?;
        let key_id = BASE64URL.encode(digest::digest(&digest::SHA256, &public_key_der));
        Ok(Self { pair, algorithm, key_id, public_key_der })
    }

    pub(crate) fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// The whole token; `None` when the crypto library fails.
    pub(crate) fn sign(&self, claims: &Value) -> Option<Zeroizing<String>> {
        let header = json!({ "alg": self.algorithm.name(), "kid": self.key_id, "typ": "JWT" });
        let signed = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let mut token = Zeroizing::new(signed);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, token.as_bytes()).ok()?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, token.as_bytes(), &mut signature).ok()?;
                signature
            }
        };
        token.push('.');
        token.push_str(&BASE64URL.encode(signature));
        Some(token)
    }
}
