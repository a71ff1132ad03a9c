//! curl, and what the demo's servers answer it: who they are, and whom they see.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use halfspace_testbed::{Interrupt, Namespace, Process};

use super::error::Error;

/// Seconds that one request may take.
const PATIENCE: &str = "5";

/// How long one run of curl may take, with many requests.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs of curl at the same time: more only wait for the processor.
const AT_ONCE: usize = 32;

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
    fn parse(line: &str) -> Option<Self> {
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

/// Starts curl; every request makes a connection of its own.
pub(super) fn start(
    client: &Namespace,
    options: &[&str],
    urls: &[String],
) -> Result<Process, Error> {
    let always = ["curl", "--silent", "--show-error", "--fail", "--header", "Connection: close"];
    let arguments = always.iter().chain(options).copied().chain(urls.iter().map(String::as_str));
    Ok(client.spawn(arguments)?)
}

/// Waits for a run of curl whose requests are all short.
pub(super) fn finish(mut curl: Process) -> Result<Outcome, Error> {
    let output = curl.output(LIMIT)?;
    Ok(Outcome {
        answers: output.stdout.lines().filter_map(Answer::parse).collect(),
        errors: output.stderr.lines().map(str::to_owned).collect(),
    })
}

/// Requests from one client, all short.
pub(super) fn get(client: &Namespace, options: &[&str], url: String) -> Result<Outcome, Error> {
    let options = [&["--max-time", PATIENCE], options].concat();
    finish(start(client, &options, &[url])?)
}

/// Starts a download of `url` from a port of the client's; it prints the number of bytes at its end.
pub(super) fn download(client: &Namespace, port: &str, url: String) -> Result<Process, Error> {
    let options = ["--local-port", port, "--output", "/dev/null", "--write-out", "%{size_download}"];
    start(client, &options, &[url])
}

/// The same requests from every client, in the order of the clients; `done` is called after each.
pub(super) fn get_from_all<'a>(
    clients: impl IntoIterator<Item = &'a Namespace>,
    options: &[&str],
    urls: &[String],
    interrupt: &Interrupt,
    mut done: impl FnMut(),
) -> Result<Vec<Outcome>, Error> {
    let options = [&["--max-time", PATIENCE], options].concat();
    let mut running = VecDeque::new();
    let mut outcomes = Vec::new();
    for client in clients {
        Error::if_raised(interrupt)?;
        if running.len() == AT_ONCE
            && let Some(first) = running.pop_front()
        {
            outcomes.push(finish(first)?);
            done();
        }
        running.push_back(start(client, &options, urls)?);
    }
    for curl in running {
        outcomes.push(finish(curl)?);
        done();
    }
    Ok(outcomes)
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
