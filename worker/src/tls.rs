//! Whom this program trusts when it speaks to others over TLS.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// Trusts the usual authorities and those of this machine: a bare container has none of its own, and a
/// company has its own. Reads all certificates of the machine, which takes a while.
///
/// # Errors
/// A sentence; there is nothing that the caller can do.
pub fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(trust.with_root_certificates(roots).with_no_client_auth())
}
