//! A peer in a process of its own: a program that answers each line of JSON with a line of JSON.
//!
//! Peers are measured in turn with our own code, so they stay loaded between rounds. The scripts under `bench/peers`
//! speak this: first a greeting, then an answer to each request; an answer with the field `error` is a refusal.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Elements, npy};

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
        let script = command.get_args().next().map(PathBuf::from);
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
        let greeting = greeting.map_err(|_| match script {
            Some(script) if script.extension().is_some_and(|py| py == "py") && !script.is_file() => {
                format!("{} is not here: run this in the repository, or give --script", script.display())
            }
            _ => format!("{}: does not answer as a peer", server.program),
        })?;
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

/// A server that says in its greeting which peers it has: `{"peers": [{"name", "version"}...]}`.
#[derive(Debug)]
pub struct Peers {
    /// Who answers.
    pub server: Server,
    /// Name and version of each.
    pub present: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Greeting {
    peers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    version: String,
}

impl Peers {
    /// Starts `command`, a script under `bench/peers` run by some Python.
    ///
    /// # Errors
    /// Why it is not there, in one line for people.
    pub fn start(command: Command) -> Result<Self, String> {
        let (server, greeting) = Server::start::<Greeting>(command)?;
        let present = greeting.peers.into_iter().map(|peer| (peer.name, peer.version)).collect();
        Ok(Self { server, present })
    }
}

/// The largest difference between the f32 that a peer wrote to an `.npy` and ours; NaN if one of them is.
///
/// # Errors
/// What is wrong with the file, in one line for people.
pub fn largest_difference(file: &Path, ours: &[f32]) -> Result<f32, String> {
    let answer = npy::read(file).map_err(|error| error.to_string())?;
    let Elements::F32(theirs) = answer.elements() else { return Err("it does not answer in f32".into()) };
    if theirs.len() != ours.len() {
        return Err(format!("it answers {} numbers where we have {}", theirs.len(), ours.len()));
    }
    let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    Ok(apart.fold(0.0, |most: f32, apart| if apart.is_nan() || apart > most { apart } else { most }))
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
    use crate::Array;

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
    fn a_difference_is_the_largest_and_nan_stays_nan() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("y.npy");
        let write = |values: [f32; 3]| {
            npy::write(&file, &Array::new([3], Elements::F32(values.to_vec())).expect("three")).expect("written");
        };
        write([1.0, 2.5, 3.0]);
        assert_eq!(largest_difference(&file, &[1.0, 2.0, 3.25]), Ok(0.5));
        assert!(largest_difference(&file, &[1.0]).is_err_and(|why| why.contains("3 numbers where we have 1")));
        write([f32::NAN, 2.0, 9.0]);
        assert!(largest_difference(&file, &[1.0, 2.0, 3.0]).is_ok_and(f32::is_nan));
    }

    #[test]
    fn what_is_no_peer_is_named() {
        let found = Server::start::<Value>(shell("echo hello")).map(|_| ());
        assert_eq!(found, Err("sh: does not answer as a peer".into()));
        let absent = Server::start::<Value>(Command::new("/no/such/program")).map(|_| ());
        assert!(absent.is_err_and(|why| why.starts_with("/no/such/program: ")));
        let mut python = Command::new("sh");
        python.arg("no/such/script.py");
        let absent = Server::start::<Value>(python).map(|_| ());
        assert!(absent.is_err_and(|why| why.starts_with("no/such/script.py is not here")));
    }
}
