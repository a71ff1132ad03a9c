//! nginx with a configuration of its own, so that real servers stand at the far end.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::START_LIMIT;
use crate::error::Error;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::accepts;

/// Size of the file under `/blob`, in bytes.
const BLOB: usize = 4 << 20;

/// The directory of published files, and the beginning of their paths.
const PUBLISHED: &str = "files";

/// A running nginx that answers every path with one body, except `/blob`: 4 MiB of a repeating
/// text, for transfers, and what [`Nginx::publish`] adds. `/blob?rate=512k` is sent at that many
/// bytes a second.
#[derive(Debug)]
pub struct Nginx {
    /// The server itself.
    pub process: Process,
    directory: PathBuf,
}

impl Nginx {
    /// Starts the server and waits until it accepts connections on every address.
    ///
    /// nginx expands its variables in `body`: `$remote_addr` and `$remote_port` tell the client
    /// which address the server saw.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if nginx is not installed, [`Error::Failed`] with nginx's own words if it
    /// refuses the configuration, [`Error::TooSlow`] if it does not come up.
    pub fn start(namespace: &Namespace, listen: &[SocketAddr], body: &str) -> Result<Self, Error> {
        let dir = namespace.shared.new_path("nginx.d");
        let written = |path: PathBuf, content: Vec<u8>| {
            fs::write(&path, content).map_err(|source| Error::File {
                action: "write",
                path: path.clone(),
                source,
            })
        };
        fs::create_dir_all(dir.join(PUBLISHED)).map_err(|source| Error::File {
            action: "make the directory",
            path: dir.clone(),
            source,
        })?;
        let configuration = dir.join("nginx.conf");
        written(configuration.clone(), configure(listen, body).into_bytes())?;
        written(dir.join("blob"), b"0123456789abcde\n".repeat(BLOB / 16))?;

        let mut command = namespace.command("nginx");
        // `-e`: before it has read its configuration nginx logs to a place of the distribution's.
        command.arg("-p").arg(&dir).args(["-e", "stderr"]).arg("-c").arg(&configuration);
        let mut process = namespace.spawn_command(command)?;
        namespace.enter(|| {
            process.wait_ready(START_LIMIT, || listen.iter().all(|address| accepts(*address)))
        })??;
        Ok(Self { process, directory: dir })
    }

    /// Serves a file of this content under `/files/{name}`.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if it cannot be written.
    pub fn publish(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(PUBLISHED).join(name);
        fs::write(&path, content).map_err(|source| Error::File { action: "write", path, source })
    }

    /// The address and port of the client of each request so far, as nginx saw them, in order.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        // The log appears with the first request.
        let log = fs::read_to_string(self.directory.join("access.log")).unwrap_or_default();
        log.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
    }
}

/// Paths are relative to the directory that `-p` names.
fn configure(listen: &[SocketAddr], body: &str) -> String {
    let listen: Vec<_> = listen.iter().map(|address| format!("listen {address};")).collect();
    let listen = listen.join("\n        ");
    // Within double quotes nginx knows these two escapes.
    let body = body.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        r#"daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 2048; }}
http {{
    # Its variable for an IPv6 client carries no brackets.
    map $remote_addr $client {{
        ~: "[$remote_addr]:$remote_port";
        default "$remote_addr:$remote_port";
    }}
    log_format client "$client $server_addr $status $request_uri";
    access_log access.log client;
    # None is no limit.
    map $arg_rate $rate {{
        "" 0;
        default $arg_rate;
    }}
    default_type text/plain;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        {listen}
        location = /blob {{ root .; limit_rate $rate; }}
        location /{PUBLISHED}/ {{ root .; }}
        location / {{ return 200 "{body}"; }}
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_listens_where_told_and_quotes_the_body() {
        let listen = ["192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:8080".parse().unwrap()];
        let text = configure(&listen, "say \"hi\" to $remote_addr\n");
        assert!(
            text.contains("listen 192.0.2.1:80;\n        listen [2001:db8::1]:8080;"),
            "{text}"
        );
        assert!(text.contains("return 200 \"say \\\"hi\\\" to $remote_addr\n\";"), "{text}");
    }
}
