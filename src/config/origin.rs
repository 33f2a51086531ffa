//! Origins of pages, as browsers name them (RFC 6454, section 6.2).

/// Reads an origin; it has to be exactly what browsers send, to which it is compared.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |host: &str| {
        let fits = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        !host.is_empty() && host.bytes().all(|byte| fits(byte) && !b"/?#@*,".contains(&byte))
    };
    match host {
        Some(host) if is_plain(host) => Ok(text.to_owned()),
        _ => Err("give an origin as browsers send it, such as https://app.example:8443".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_and_perhaps_a_port() {
        for good in ["https://app.example", "http://localhost:3000", "http://[::1]:3000"] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://*.example",
            "https://App.example",
            "ftp://app.example",
            "https://a b",
            "https://u@app.example",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
