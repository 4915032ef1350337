//! Built-in TLS: a certificate chain and its key, as PEM, become what the accept loop speaks.
//!
//! Called by the daemon, which reads the files at start and again at SIGHUP. Nothing here opens a file.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// TLS 1.2 and 1.3 with this certificate.
///
/// # Errors
/// A text that says which of the two is wrong and how to mend it.
pub fn configuration(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls_cert is not a certificate chain in PEM form: {error}"))?;
    if chain.is_empty() {
        return Err("tls_cert holds no certificate: it must be the full chain in PEM form".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("tls_key is not a private key in PEM form: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("tls_cert and tls_key do not fit together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_taken_and_what_is_wrong_with_another_is_named() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert!(configuration(certificate.as_bytes(), key.as_bytes()).is_ok());
        let wrong = |certificate: &str, key: &str| configuration(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(wrong("", &key).contains("holds no certificate"));
        assert!(wrong(&certificate, "nonsense").contains("tls_key"));
        assert!(wrong(&certificate, &other.signing_key.serialize_pem()).contains("do not fit together"));
    }
}
