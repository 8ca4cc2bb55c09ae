//! Parties as threads of one process, joined by channels.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::{Link, Party, Reach};
use crate::Error;
use crate::cluster::bits::Bits;

/// What travels: bits, or a sign of life.
type Parcel = Option<Arc<Bits>>;

/// A door to the other threads.
pub struct Channels {
    to: Vec<(Party, Sender<Parcel>)>,
    from: HashMap<Party, Receiver<Parcel>>,
    timeout: Duration,
}

/// Doors for the coordinator and, after it, for `sites` sites.
pub fn links(sites: usize, reach: Reach, timeout: Duration) -> Vec<Channels> {
    let parties: Vec<_> = std::iter::once(Party::Coordinator).chain((0..sites).map(Party::Site)).collect();
    let mut links: Vec<_> =
        parties.iter().map(|_| Channels { to: Vec::new(), from: HashMap::new(), timeout }).collect();
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
}

impl Link for Channels {
    fn write(&mut self, bits: &Bits) -> Result<(), Error> {
        self.say(&Some(Arc::new(bits.clone())))
    }

    fn read(&mut self, from: Party) -> Result<Bits, Error> {
        let receiver = self.from.get(&from).ok_or(Error::Lost { party: from })?;
        loop {
            match receiver.recv_timeout(self.timeout) {
                Ok(Some(bits)) => return Ok(Bits::clone(&bits)),
                Ok(None) => {}
                Err(RecvTimeoutError::Timeout) => return Err(Error::Silent { party: from, after: self.timeout }),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Lost { party: from }),
            }
        }
    }

    fn alive(&mut self) -> Result<(), Error> {
        self.say(&None)
    }
}
