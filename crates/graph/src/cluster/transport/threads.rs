//! Parties as threads of one process, joined by channels.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::{HEADER, Link, Party, Reach};
use crate::Error;
use crate::cluster::bits::Bits;

/// What travels: bits, or a sign of life.
type Parcel = Option<Arc<Bits>>;

/// A door to the other threads.
pub struct Channels {
    party: Party,
    reach: Reach,
    to: Vec<(Party, Sender<Parcel>)>,
    from: HashMap<Party, Receiver<Parcel>>,
    timeout: Duration,
    wire_bytes: u64,
}

/// Doors for the coordinator and, after it, for `sites` sites.
pub fn links(sites: usize, reach: Reach, timeout: Duration) -> Vec<Channels> {
    let parties: Vec<_> = std::iter::once(Party::Coordinator).chain((0..sites).map(Party::Site)).collect();
    let link = |&party| Channels { party, reach, to: Vec::new(), from: HashMap::new(), timeout, wire_bytes: 0 };
    let mut links: Vec<_> = parties.iter().map(link).collect();
    for (speaker, &from) in parties.iter().enumerate() {
        for (listener, &to) in parties.iter().enumerate() {
            let heard = reach == Reach::Board || from == Party::Coordinator || to == Party::Coordinator;
            if speaker != listener && heard {
                let (sender, receiver) = channel();
                links[speaker].to.push((to, sender));
                links[listener].from.insert(from, receiver);
            }
        }
    }
    links
}

impl Channels {
    fn say(&self, parcel: &Parcel) -> Result<(), Error> {
        let gone = self.to.iter().find(|(_, sender)| sender.send(parcel.clone()).is_err());
        gone.map_or(Ok(()), |&(party, _)| Err(Error::Lost { party }))
    }

    /// A sign of life to those that are still there.
    fn sign(&self) {
        for (_, sender) in &self.to {
            let _ = sender.send(None);
        }
    }
}

impl Link for Channels {
    fn write(&mut self, bits: &Bits) -> Result<(), Error> {
        self.say(&Some(Arc::new(bits.clone())))?;
        self.wire_bytes += (HEADER + bits.bytes().len()) as u64 * self.reach.times(self.to.len());
        Ok(())
    }

    fn read(&mut self, from: Party) -> Result<Bits, Error> {
        let receiver = self.from.get(&from).ok_or(Error::Lost { party: from })?;
        let mut since = Instant::now();
        loop {
            match receiver.recv_timeout(self.timeout / 8) {
                Ok(Some(bits)) => return Ok(Bits::clone(&bits)),
                Ok(None) => since = Instant::now(),
                Err(RecvTimeoutError::Timeout) if since.elapsed() < self.timeout => {}
                Err(RecvTimeoutError::Timeout) => return Err(Error::Silent { party: from, after: self.timeout }),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Lost { party: from }),
            }
            if self.party == Party::Coordinator {
                self.sign();
            }
        }
    }

    /// Never fails: who is gone shows when it is read from.
    fn alive(&mut self) -> Result<(), Error> {
        self.sign();
        Ok(())
    }

    fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// The first site works for longer than the time-out, while the second waits for the coordinator.
    #[test]
    fn a_slow_site_that_lives_is_waited_for() {
        let timeout = Duration::from_secs(1);
        let links: Vec<_> = links(2, Reach::Messages, timeout);
        let [mut coordinator, mut slow, mut other] = links.try_into().ok().expect("three parties");
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..25 {
                    slow.alive().expect("the coordinator is there");
                    thread::sleep(timeout / 10);
                }
                slow.write(&Bits::default()).expect("the coordinator is there");
                slow.read(Party::Coordinator).expect("an answer");
            });
            scope.spawn(move || other.read(Party::Coordinator).expect("an answer"));
            coordinator.read(Party::Site(0)).expect("it gave signs of life");
            coordinator.write(&Bits::default()).expect("both wait");
            assert_eq!(coordinator.wire_bytes(), 2 * HEADER as u64);
        });
    }
}
