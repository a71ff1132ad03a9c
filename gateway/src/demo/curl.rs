//! curl, and what the demo's servers answer it: who they are, and whom they see.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use halfspace_testbed::{Interrupt, Namespace, Process};

use super::error::Error;

/// Seconds that one request may take.
const PATIENCE: &str = "5";

/// How long one run of curl may take.
const LIMIT: Duration = Duration::from_secs(15);

/// The body of every server's answers, in nginx's words.
pub(super) fn body(server: &str) -> String {
    format!("{server} sees $remote_addr:$remote_port\n")
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Who it says it is.
    pub server: String,
    /// The client as it sees it.
    pub client: SocketAddr,
}

impl Answer {
    /// From the body.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (server, client) = line.split_once(" sees ")?;
        Some(Self { server: server.to_owned(), client: client.parse().ok()? })
    }
}

/// What came of a run of curl.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The answers, in the order they came.
    pub answers: Vec<Answer>,
    /// What curl said about requests that got none.
    pub errors: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers.iter().map(|it| format!("{} seeing {}", it.server, it.client));
        let said: Vec<_> = answers.chain(self.errors.iter().cloned()).collect();
        if said.is_empty() { f.write_str("nothing") } else { f.write_str(&said.join(", ")) }
    }
}

/// Starts a download of `url` from a port of the client's; it prints the number of bytes at its end.
pub(super) fn download(client: &Namespace, port: u16, url: &str) -> Result<Process, Error> {
    let output = ["--output", "/dev/null", "--write-out", "%{size_download}"];
    start(client, &port.to_string(), &output, &[url.to_owned()])
}

/// The same short requests from every client, which comes with the local port or range of ports to
/// use. At most `at_once` run side by side. Outcomes are in the order of the clients; `done` is
/// called after each.
pub(super) fn get<'a>(
    clients: impl IntoIterator<Item = (&'a Namespace, String)>,
    urls: &[String],
    at_once: usize,
    interrupt: &Interrupt,
    mut done: impl FnMut(),
) -> Result<Vec<Outcome>, Error> {
    let mut running = VecDeque::new();
    let mut outcomes = Vec::new();
    for (client, ports) in clients {
        Error::if_raised(interrupt)?;
        if running.len() == at_once
            && let Some(first) = running.pop_front()
        {
            outcomes.push(finish(first)?);
            done();
        }
        running.push_back(start(client, &ports, &["--max-time", PATIENCE], urls)?);
    }
    for curl in running {
        outcomes.push(finish(curl)?);
        done();
    }
    Ok(outcomes)
}

/// Starts curl; every request makes a connection of its own.
fn start(
    client: &Namespace,
    ports: &str,
    options: &[&str],
    urls: &[String],
) -> Result<Process, Error> {
    let always = ["curl", "--silent", "--show-error", "--fail", "--header", "Connection: close"];
    let urls = urls.iter().map(String::as_str);
    let options = ["--local-port", ports].into_iter().chain(options.iter().copied());
    Ok(client.spawn(always.into_iter().chain(options).chain(urls))?)
}

/// Waits for a run of curl whose requests are all short.
fn finish(mut curl: Process) -> Result<Outcome, Error> {
    let output = curl.output(LIMIT)?;
    Ok(Outcome {
        answers: output.stdout.lines().filter_map(Answer::parse).collect(),
        errors: output.stderr.lines().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_server_and_the_client_as_it_is_seen() {
        let answer = Answer::parse("blue sees 10.0.3.5:40123");
        let expected =
            Answer { server: "blue".to_owned(), client: "10.0.3.5:40123".parse().unwrap() };
        assert_eq!(answer, Some(expected));
        assert_eq!(Answer::parse("<html>502 Bad Gateway</html>"), None);
    }
}
