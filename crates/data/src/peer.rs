//! A peer in a process of its own: a program that answers each line of JSON with a line of JSON.
//!
//! Peers are measured in turn with our own code, so they stay loaded between rounds. The scripts under `bench/peers`
//! speak this: first a greeting, then an answer to each request; an answer with the field `error` is a refusal.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program that answers.
#[derive(Debug)]
pub struct Server {
    program: String,
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Server {
    /// Starts `command`, and returns it with its greeting.
    ///
    /// # Errors
    /// Why it is not there, in one line for people.
    pub fn start<G: DeserializeOwned>(mut command: Command) -> Result<(Self, G), String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("{program}: {error}"))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{program}: has no pipes"));
        };
        let (told, heard) = channel();
        // It ends with the program, whose output ends then, or with the server, which nobody hears then.
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines() {
                let Ok(line) = line else { break };
                let Ok(()) = told.send(line) else { break };
            }
        });
        let server = Self { program, child, requests, answers: heard };
        let greeting = server.line().and_then(|line| serde_json::from_str(&line).ok().ok_or_else(String::new));
        let greeting = greeting.map_err(|_| format!("{}: does not answer as a peer", server.program))?;
        Ok((server, greeting))
    }

    /// The answer to `request`.
    ///
    /// # Errors
    /// The peer's own words if it refuses; otherwise that it stopped, or is silent.
    pub fn ask<A: DeserializeOwned>(&mut self, request: &impl Serialize) -> Result<A, String> {
        let mut line = serde_json::to_string(request).map_err(|error| error.to_string())?;
        line.push('\n');
        let sent = self.requests.write_all(line.as_bytes()).and_then(|()| self.requests.flush());
        sent.map_err(|error| format!("{}: {error}", self.program))?;
        let answer: Value = serde_json::from_str(&self.line()?).map_err(|_| "its answer is no JSON".to_string())?;
        if let Some(refusal) = answer.get("error").and_then(Value::as_str) {
            return Err(refusal.to_owned());
        }
        serde_json::from_value(answer).map_err(|error| format!("its answer is not understood: {error}"))
    }

    fn line(&self) -> Result<String, String> {
        self.answers.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("it was silent for {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => "it stopped".into(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_peer_greets_answers_refuses_and_stops() {
        let script = r#"echo '{"name": "echo"}'; read a; echo "[$a]"; read b; echo '{"error": "no"}'; read c"#;
        let (mut server, greeting) = Server::start::<Value>(shell(script)).expect("a shell");
        assert_eq!(greeting["name"], "echo");
        assert_eq!(server.ask::<Vec<u32>>(&7), Ok(vec![7]));
        assert_eq!(server.ask::<Value>(&7), Err("no".into()));
        assert_eq!(server.ask::<Value>(&7), Err("it stopped".into()));
    }

    #[test]
    fn what_is_no_peer_is_named() {
        let found = Server::start::<Value>(shell("echo hello")).map(|_| ());
        assert_eq!(found, Err("sh: does not answer as a peer".into()));
        let absent = Server::start::<Value>(Command::new("/no/such/program")).map(|_| ());
        assert!(absent.is_err_and(|why| why.starts_with("/no/such/program: ")));
    }
}
