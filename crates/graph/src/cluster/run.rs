//! A run: a stream is cut into what each site sees, and all parties take part.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use super::coordinator::{Answer, Questions, coordinate};
use super::desks::Desks;
use super::protocol::Protocol;
use super::report::Time;
use super::site::watch;
use super::spectral::Tau;
use super::stream::{Change, Partition, Stream};
use super::transport::{Link, Party, threads};
use crate::Error;

/// What is run, besides the protocol.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// The graph as it changes.
    pub stream: &'a Stream,
    /// Which site sees which edge.
    pub partition: Partition,
    /// The times at which clusters are asked for, ascending; what comes later is not looked at.
    pub times: &'a [f64],
    /// How graphs are regularised before they are clustered.
    pub tau: Tau,
    /// The true label of every vertex, if it is known.
    pub truth: Option<&'a [u32]>,
    /// How long a party waits for a sign of life.
    pub timeout: Duration,
}

impl Run<'_> {
    /// Checks that times ascend, and that the truth has a label for every vertex.
    fn check(&self) -> Result<(), Error> {
        let wrong = |what, value, range| Err(Error::Parameter { what, value, range });
        if self.times.is_empty() {
            return wrong("times", 0.0, "at least one");
        }
        for (number, &time) in self.times.iter().enumerate() {
            if !time.is_finite() || number > 0 && time <= self.times[number - 1] {
                return wrong("time", time, "finite and above the time before it");
            }
        }
        match self.truth {
            Some(truth) if truth.len() != self.stream.vertices => {
                wrong("labels of the truth", truth.len() as f64, "as many as there are vertices")
            }
            _ => Ok(()),
        }
    }

    /// Every change with the site that sees it.
    fn seen(&self, sites: usize) -> Vec<(Change, u32)> {
        let sites = self.stream.sites(sites, self.partition);
        self.stream.changes.iter().copied().zip(sites).collect()
    }

    /// What a site sees up to each time.
    fn batches(&self, seen: &[(Change, u32)], site: usize) -> Vec<Vec<Change>> {
        let mut own = seen.iter().filter(|(_, of)| *of as usize == site).map(|(change, _)| *change).peekable();
        let until = |&time: &f64| std::iter::from_fn(|| own.next_if(|change| change.time <= time)).collect();
        self.times.iter().map(until).collect()
    }

    /// Runs all parties as threads of this process.
    ///
    /// # Errors
    /// [`Error::Parameter`] for times or a truth that cannot be; [`Error::Lost`], [`Error::Silent`],
    /// [`Error::Garbled`] naming the site that fails.
    pub fn with_threads(&self, protocol: &Protocol, on_time: &mut dyn FnMut(&Time)) -> Result<Answer, Error> {
        self.check()?;
        let seen = self.seen(protocol.sites);
        let mut links = threads::links(protocol.sites, protocol.model.reach(), self.timeout).into_iter();
        let mut of_coordinator = links.next().expect("the coordinator's link comes first");
        let desks = Desks::new(rayon::current_num_threads());
        let (seen, desks) = (&seen, &desks);
        thread::scope(|scope| {
            let site = |(me, mut link)| {
                scope.spawn(move || {
                    let batches = self.batches(seen, me);
                    // A panic ends this site alone: its link falls, and the others hear that it is gone.
                    catch_unwind(AssertUnwindSafe(|| watch(&mut link, me, protocol, &batches, desks)))
                        .unwrap_or(Err(Error::Lost { party: Party::Site(me) }))
                })
            };
            let sites: Vec<_> = links.enumerate().map(site).collect();
            let questions = self.questions(seen);
            let answer = coordinate(&mut of_coordinator, protocol, &questions, on_time);
            drop(of_coordinator); // so that a site that waits for it learns of its end
            let of_sites: Vec<_> = sites.into_iter().filter_map(|site| site.join().ok()?.err()).collect();
            answer.map_err(|error| first_cause(error, of_sites))
        })
    }

    /// Takes part as `party`, over a link to parties elsewhere. The coordinator gets the answer.
    ///
    /// # Errors
    /// As [`with_threads`](Self::with_threads).
    pub fn as_party(
        &self,
        party: Party,
        link: &mut dyn Link,
        protocol: &Protocol,
        on_time: &mut dyn FnMut(&Time),
    ) -> Result<Option<Answer>, Error> {
        self.check()?;
        let seen = self.seen(protocol.sites);
        match party {
            Party::Coordinator => coordinate(link, protocol, &self.questions(&seen), on_time).map(Some),
            Party::Site(me) => watch(link, me, protocol, &self.batches(&seen, me), &Desks::new(1)).map(|_| None),
        }
    }

    fn questions<'a>(&'a self, changes: &'a [(Change, u32)]) -> Questions<'a> {
        Questions { times: self.times, tau: self.tau, truth: self.truth, changes }
    }
}

/// Of what the coordinator saw and what sites saw: the error that is not about somebody else's end.
fn first_cause(error: Error, of_sites: Vec<Error>) -> Error {
    let about_others = |error: &Error| matches!(error, Error::Lost { .. });
    match error {
        Error::Lost { .. } => of_sites.into_iter().find(|error| !about_others(error)).unwrap_or(error),
        other => other,
    }
}
