//! What a site does: it watches its part of the graph, and speaks when it is its turn.

use super::bits::Bits;
use super::blackboard::{Blackboard, Board};
use super::desks::Desks;
use super::local::Local;
use super::message::Start;
use super::message_passing::MessagePassing;
use super::protocol::{Model, Protocol, Rate};
use super::ship_all;
use super::stream::Change;
use super::transport::{Link, Party};
use crate::Error;

/// Takes part as site `me`. `batches` are the changes that it sees up to each time that is asked for.
///
/// `desks` are shared by the sites of a process.
///
/// # Errors
/// Those of the link; [`Error::Garbled`] if what another says cannot be read.
pub fn watch(
    link: &mut dyn Link,
    me: usize,
    protocol: &Protocol,
    batches: &[Vec<Change>],
    desks: &Desks,
) -> Result<(), Error> {
    let said = link.read(Party::Coordinator)?;
    let garbled = |fault: &str| Error::Garbled { party: Party::Coordinator, fault: fault.into() };
    let start = Start::read(&said).ok_or_else(|| garbled("no start"))?;
    if start != protocol.start() {
        return Err(garbled("it starts another protocol; all must be started with the same options"));
    }
    let mut role = Role::new(me, protocol, &start, desks);
    for changes in batches {
        role.begin(changes);
        for turn in (0..protocol.model.turns(protocol.vertices)).rev() {
            link.alive()?;
            role.look(turn);
            let bits = desks.work(|| role.turn(changes, turn));
            exchange(link, me, protocol, &mut role, &bits)?;
        }
        if protocol.rate == Rate::Auto && protocol.model != Model::ShipAll {
            while again(&link.read(Party::Coordinator)?)? {
                link.alive()?;
                let bits = desks.work(|| role.double());
                exchange(link, me, protocol, &mut role, &bits)?;
            }
        }
        role.end();
        if protocol.labels_back {
            link.read(Party::Coordinator)?;
        }
    }
    Ok(())
}

/// All sites speak in order: this one says `bits`, and hears the others if it can.
fn exchange(link: &mut dyn Link, me: usize, protocol: &Protocol, role: &mut Role, bits: &Bits) -> Result<(), Error> {
    let Role::Blackboard(own) = role else { return link.write(bits) };
    for site in 0..protocol.sites {
        let heard = if site == me {
            link.write(bits)?;
            own.board.hear(site, bits)
        } else {
            own.board.hear(site, &link.read(Party::Site(site))?)
        };
        heard.map_err(|fault| Error::Garbled { party: Party::Site(site), fault })?;
    }
    Ok(())
}

/// The coordinator's answer: whether c is doubled.
fn again(bits: &Bits) -> Result<bool, Error> {
    match (bits.len(), bits.read().take(1)) {
        (1, Some(answer)) => Ok(answer == 1),
        _ => Err(Error::Garbled { party: Party::Coordinator, fault: "no answer".into() }),
    }
}

enum Role {
    MessagePassing(Box<MessagePassing>),
    Blackboard(Box<Blackboard>),
    ShipAll(Protocol),
}

impl Role {
    fn new(me: usize, protocol: &Protocol, start: &Start, desks: &Desks) -> Self {
        let (c, seed, codec) = (f64::from(start.c), start.seed, protocol.codec);
        let local = Local::new(me, seed, protocol.vertices, codec);
        let board = || Board::new(protocol.vertices, protocol.sites, codec);
        let blackboard =
            |local, afresh| Self::Blackboard(Box::new(Blackboard::new(board(), local, c, seed, desks.clone(), afresh)));
        match protocol.model {
            Model::MessagePassing => Self::MessagePassing(Box::new(MessagePassing::new(local, c, seed, false))),
            Model::Static => Self::MessagePassing(Box::new(MessagePassing::new(local, c, seed, true))),
            Model::Blackboard => blackboard(local, false),
            Model::StaticBlackboard => blackboard(local, true),
            Model::ShipAll => Self::ShipAll(protocol.clone()),
        }
    }

    fn begin(&mut self, changes: &[Change]) {
        if let Self::Blackboard(site) = self {
            site.begin(changes);
        }
    }

    fn look(&mut self, turn: u8) {
        if let Self::Blackboard(site) = self {
            site.look(turn);
        }
    }

    fn turn(&mut self, changes: &[Change], turn: u8) -> Bits {
        match self {
            Self::MessagePassing(site) => site.turn(changes),
            Self::Blackboard(site) => site.turn(turn),
            Self::ShipAll(protocol) => ship_all::turn(&protocol.codec, changes),
        }
    }

    fn double(&mut self) -> Bits {
        match self {
            Self::MessagePassing(site) => site.double(),
            Self::Blackboard(site) => site.double(),
            Self::ShipAll(_) => Bits::default(),
        }
    }

    fn end(&mut self) {
        if let Self::Blackboard(site) = self {
            site.board.settle();
        }
    }
}
