//! The options of `connections`, and the plan they come to.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use ipnet::IpNet;
use serde::Serialize;

use super::halfspace::Halfspace;
use super::http::Http;
use crate::error::Error;
use crate::guard::Guard;
use crate::output::{Output, Rate, parse_count};
use crate::sockets::cpu::Watch;
use crate::sockets::origin::Origin;
use crate::sockets::protocol::{ANSWER_HEAD, REQUEST_HEAD};
use crate::sockets::timing::Timing;

/// Messages no longer than this go out in one segment on any link, and need no `TCP_NODELAY`.
const ONE_SEGMENT: u64 = 1200;

/// Most bytes of a message of our own protocol.
const MOST_BYTES: u64 = 1 << 30;

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Connect, request, response, close
    Crr,
    /// Request and response on connections that are kept
    Rr,
}

/// What is spoken on the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// With `halfspace-loadtest serve`, which says where it sees the client; content is verified
    Halfspace,
    /// GET over HTTP/1.1, with any web server; status and length are verified
    Http,
}

/// Whom to load, how, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where to connect
    #[arg(long, value_name = "ADDR:PORT")]
    pub target: SocketAddr,
    /// What one operation is
    #[arg(long, value_enum, default_value_t = Mode::Crr)]
    pub mode: Mode,
    /// What to speak
    #[arg(long, value_enum, default_value_t = Protocol::Halfspace)]
    pub protocol: Protocol,
    /// Connections at the same time, over all threads
    #[arg(long, default_value = "32", value_parser = parse_count)]
    pub connections: u64,
    /// Operations a second, whether or not earlier ones are done [default: each connection starts
    /// its next operation when its last is done]
    #[arg(long)]
    pub rate: Option<Rate>,
    /// Threads, each with its share of connections and rate
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Bytes of a request, at least the 40 of its head
    #[arg(long, default_value = "64", value_parser = parse_count)]
    pub request_bytes: u64,
    /// Bytes of a response, at least the 48 of its head
    #[arg(long, default_value = "64", value_parser = parse_count)]
    pub response_bytes: u64,
    /// The path to GET
    #[arg(long, default_value = "/")]
    pub path: String,
    /// The host to ask for [default: the target]
    #[arg(long)]
    pub host: Option<String>,
    /// Bytes that an HTTP body must have [default: any]
    #[arg(long, value_parser = parse_count)]
    pub expect_bytes: Option<u64>,
    /// Connect from these addresses in turn: each has some 28,000 ports
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub source: Vec<IpAddr>,
    /// Networks that the server must see the client in
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub expect_source: Vec<IpNet>,
    /// Close with a reset, which leaves nothing behind that keeps the port for a minute
    #[arg(long)]
    pub reset: bool,
    /// Share of operations that may fail, from 0 to 1; wrong answers may never be
    #[arg(long, default_value_t = 0.0)]
    pub max_loss: f64,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub watch: Watch,
    #[command(flatten)]
    pub guard: Guard,
    #[command(flatten)]
    pub output: Output,
}

/// What every thread needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What an operation is.
    pub mode: Mode,
    /// When operations start; nothing: one after another.
    pub rate: Option<Rate>,
    /// How long.
    pub timing: Timing,
    /// Where the server must see the client.
    pub expect_source: Vec<IpNet>,
    /// Where connections come from.
    pub origin: Origin,
}

/// What is spoken, with its particulars.
#[derive(Clone, Debug)]
pub enum Spoken {
    /// Our own protocol.
    Halfspace(Halfspace),
    /// HTTP.
    Http(Http),
}

impl Plan {
    /// The plan that the options come to, and what is to be spoken.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if they do not fit together.
    pub fn new(arguments: &Arguments) -> Result<(Self, Spoken), Error> {
        let usage = |what: &str| Err(Error::Usage(what.to_owned()));
        if !(0.0..=1.0).contains(&arguments.max_loss) {
            return usage("--max-loss is a share: from 0 to 1");
        }
        if arguments.connections < u64::from(arguments.threads) {
            return usage("--connections must be at least --threads: each thread needs one");
        }
        if arguments.connections > 1_000_000 {
            return usage("--connections may be at most a million");
        }
        let mut one_segment = true;
        let spoken = match arguments.protocol {
            Protocol::Halfspace => {
                let (request, response) = (arguments.request_bytes, arguments.response_bytes);
                if arguments.expect_bytes.is_some() {
                    return usage("--expect-bytes is for --protocol http; say --response-bytes");
                }
                if request < REQUEST_HEAD as u64 || response < ANSWER_HEAD as u64 {
                    return usage("the heads alone are 40 bytes of a request, 48 of a response");
                }
                if request.max(response) > MOST_BYTES {
                    return usage("a request or response may have at most 1 GiB; see `streams`");
                }
                one_segment = request <= ONE_SEGMENT;
                Spoken::Halfspace(Halfspace {
                    request: request - REQUEST_HEAD as u64,
                    response: response - ANSWER_HEAD as u64,
                })
            }
            Protocol::Http => {
                if !arguments.expect_source.is_empty() {
                    return usage(
                        "--expect-source: HTTP servers do not say where they see the client",
                    );
                }
                let host = arguments.host.clone().unwrap_or(arguments.target.to_string());
                Spoken::Http(Http {
                    request: http_request(&arguments.path, &host, arguments.mode)?,
                    body: arguments.expect_bytes,
                })
            }
        };
        let origin = Origin::new(arguments.target, &arguments.source)?
            .closing_with_reset(arguments.reset)
            .without_delay(!one_segment);
        let plan = Self {
            mode: arguments.mode,
            rate: arguments.rate,
            timing: arguments.timing,
            expect_source: arguments.expect_source.clone(),
            origin,
        };
        Ok((plan, spoken))
    }
}

/// A request, RFC 9112. With one request a connection the server is told so, and closes it.
fn http_request(path: &str, host: &str, mode: Mode) -> Result<Vec<u8>, Error> {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !path.starts_with('/') || !visible(path) || !visible(host) {
        let what = "--path must start with `/`, and neither it nor --host may hold blanks";
        return Err(Error::Usage(what.to_owned()));
    }
    let close = if mode == Mode::Crr { "Connection: close\r\n" } else { "" };
    Ok(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(options: &str) -> Result<(Plan, Spoken), String> {
        let words = ["x", "--target", "127.0.0.1:80"].into_iter().chain(options.split_whitespace());
        let parsed = CommandLine::try_parse_from(words).map_err(|error| error.to_string())?;
        Plan::new(&parsed.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_with_the_reason() {
        for (options, reason) in [
            ("--threads 4 --connections 3", "--threads"),
            ("--request-bytes 39", "40 bytes"),
            ("--response-bytes 2G", "1 GiB"),
            ("--protocol http --expect-source 10.0.0.0/8", "--expect-source"),
            ("--expect-bytes 5", "--response-bytes"),
            ("--protocol http --path index.html", "--path"),
            ("--protocol http --host a\tb", "unexpected argument"),
            ("--source ::1", "family"),
            ("--max-loss 2", "--max-loss"),
            ("--rate 0", "above zero"),
            ("--duration 0s", "above zero"),
        ] {
            let error = plan(options).expect_err(options);
            assert!(error.contains(reason), "{options}: {error}");
        }
        assert!(plan("").is_ok());
        assert!(plan("--threads 2 --rate 50k --reset --source 127.0.0.2,127.0.0.3").is_ok());
    }

    #[test]
    fn an_http_request_asks_to_close_only_if_it_is_the_only_one() {
        let text = |mode| String::from_utf8(http_request("/a", "b:1", mode).unwrap()).unwrap();
        assert_eq!(text(Mode::Rr), "GET /a HTTP/1.1\r\nHost: b:1\r\n\r\n");
        assert_eq!(text(Mode::Crr), "GET /a HTTP/1.1\r\nHost: b:1\r\nConnection: close\r\n\r\n");
    }
}
