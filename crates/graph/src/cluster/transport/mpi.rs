//! Parties as ranks of an MPI job: rank 0 is the coordinator, rank i + 1 is site i.
//!
//! MPI waits for ever for a rank that is stuck, so nothing here waits inside MPI: sends are immediate and keep their bytes
//! until they are done, what comes is looked for, and between two looks one sleeps, which leaves the cores to ranks that
//! work. An error of MPI itself, a broken connection say, ends the whole job with MPI's message.
//!
//! `MPI_Finalize` waits, too. So each rank says farewell first, and the coordinator, once all have, the end; only then do
//! they call it. (Ranks that called it while others failed made Open MPI's `mpirun` crash or hang in seven jobs of ten:
//! version 4.1.4 of Debian 12, with PMIx 4.2.2.)
//!
//! On a board, a write is one message to each other party and not `MPI_Ibcast`. A broadcast is called by all ranks in one
//! order, while of a board's many writers none knows who is next; it cannot be looked for, nor given up after a time-out;
//! and it runs through a tree of ranks, where one that is stuck would silence others.
//!
//! A frame is its kind (1 byte), its length in bits (8 bytes, little-endian), and its bits. It travels in pieces of
//! [`PIECE`] bytes, so that a long one that still comes is a sign of life.
//!
//! In a container Open MPI may want `mpirun --allow-run-as-root --oversubscribe`; by environment variables,
//! `OMPI_MCA_btl_vader_single_copy_mechanism=none` where one process may not read another's memory, and
//! `OMPI_MCA_plm_rsh_agent=/bin/false` where there is no ssh.

use std::collections::VecDeque;
use std::mem::{self, ManuallyDrop};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{process, thread};

use mpi::environment::{Universe, initialize_with_threading, is_finalized, is_initialized};
use mpi::topology::{Process, SimpleCommunicator};
use mpi::traits::{AsCommunicator, AsRaw, AsRawMut, Communicator, Equivalence, Source};
use mpi::{Rank, Tag, Threading, ffi};

use super::{HEADER, Link, Party, Reach};
use crate::Error;
use crate::cluster::bits::Bits;

/// Most bytes of one MPI message.
const PIECE: usize = 1 << 20;
/// Messages of one tag and one rank arrive in order.
const TAG: Tag = 0;
/// Between two looks, at least and at most.
const NAP: Range<Duration> = Duration::from_micros(50)..Duration::from_millis(1);
/// For the others to learn that this rank leaves, when it leaves with an error.
const GRACE: Duration = Duration::from_secs(1);

/// Kinds of frames.
const BITS: u8 = 0;
const ALIVE: u8 = 1;
const FAREWELL: u8 = 2;
const END: u8 = 3;
/// A farewell says the rank of who is lost: the one that leaves, or one whose failure made it leave.
const RANK_BITS: u32 = 32;

/// A door to the other ranks.
///
/// What is written travels on during later calls: who then works for long calls [`alive`](Link::alive) now and then.
///
/// A program that is done calls [`close`](Self::close). One that failed says so and drops its link, which tells the others
/// that this rank is gone. If all leave within a second, MPI ends in order; otherwise it is the program's [`abort`] that
/// ends the job, without `MPI_Finalize`.
pub struct Ranks {
    universe: Option<Universe>,
    world: SimpleCommunicator,
    me: Party,
    reach: Reach,
    timeout: Duration,
    /// Ranks that hear this one, and are heard.
    others: Vec<usize>,
    /// What came, by rank.
    inbox: Vec<Inbox>,
    /// What is on its way, and to whom.
    outbox: VecDeque<(usize, Transfer<Arc<Vec<u8>>>)>,
    spoke: Instant,
    wire_bytes: u64,
    /// Who failed, by what was read; this rank's farewell names it, for those that do not hear it.
    lost: Option<Party>,
    left: bool,
    end: bool,
}

/// Starts MPI, once in a process: who this rank is, and its door to the others. All ranks name the same `reach`. The link
/// stays on the thread that called this.
///
/// # Errors
/// [`Error::Ranks`] if there is no site, [`Error::MpiStarted`] if this process started MPI before.
pub fn start(reach: Reach, timeout: Duration) -> Result<(Party, Ranks), Error> {
    let (universe, _) = initialize_with_threading(Threading::Funneled).ok_or(Error::MpiStarted)?;
    let world = universe.world();
    let (rank, ranks) = (world.rank() as usize, world.size() as usize);
    if ranks < 2 {
        return Err(Error::Ranks { ranks });
    }
    let heard = |&other: &usize| other != rank && (reach == Reach::Board || rank == 0 || other == 0);
    let link = Ranks {
        universe: Some(universe),
        world,
        me: party(rank),
        reach,
        timeout,
        others: (0..ranks).filter(heard).collect(),
        inbox: (0..ranks).map(|_| Inbox::default()).collect(),
        outbox: VecDeque::new(),
        spoke: Instant::now(),
        wire_bytes: 0,
        lost: None,
        left: false,
        end: false,
    };
    Ok((link.me, link))
}

/// Ends this process and, if MPI runs, all ranks of the job, with the exit status `code`: for a program that failed, after
/// it said why and dropped its link; not every launcher ends the job by itself. Call it on the thread that called
/// [`start`].
pub fn abort(code: i32) -> ! {
    if is_initialized() && !is_finalized() {
        SimpleCommunicator::world().abort(code);
    }
    process::exit(code)
}

fn party(rank: usize) -> Party {
    rank.checked_sub(1).map_or(Party::Coordinator, Party::Site)
}

fn rank(party: Party) -> usize {
    match party {
        Party::Coordinator => 0,
        Party::Site(site) => site + 1,
    }
}

impl Ranks {
    /// How many sites there are.
    pub fn sites(&self) -> usize {
        self.inbox.len() - 1
    }

    /// Says farewell, waits until all others have, and ends MPI. What comes meanwhile is dropped. A party that works on
    /// for longer than the time-out, after its last word, closes first or gives signs of life.
    ///
    /// # Errors
    /// [`Error::Silent`] naming a party that did not leave, while nobody gave a sign of life for the time-out;
    /// [`Error::Garbled`].
    pub fn close(mut self) -> Result<(), Error> {
        self.leave(self.timeout, true)
    }

    /// Says farewell, waits for the others' and ends MPI, if they leave within `patience`, or within `patience` of
    /// someone's sign of life if `signs` count; the coordinator then gives them, too.
    fn leave(&mut self, patience: Duration, signs: bool) -> Result<(), Error> {
        if !mem::replace(&mut self.left, true) {
            let mut who = Bits::default();
            who.push(rank(self.lost.unwrap_or(self.me)) as u64, RANK_BITS);
            self.say(FAREWELL, &who);
        }
        let others = self.others.clone();
        let mut wait = Wait::new();
        loop {
            let mut news = false;
            for &rank in &others {
                let said = self.look(rank)?;
                self.end |= said == Some(News::End);
                news |= said.is_some();
            }
            let staying = others.iter().copied().find(|&rank| self.inbox[rank].lost.is_none());
            if self.me == Party::Coordinator && staying.is_none() && !mem::replace(&mut self.end, true) {
                self.say(END, &Bits::default());
            }
            let untaken = self.outbox.front().map(|&(rank, _)| rank);
            let Some(rank) = staying.or(untaken).or((!self.end).then_some(0)) else { break };
            if signs && self.me == Party::Coordinator {
                self.sign();
            }
            if news && signs {
                wait = Wait::new();
            } else if !wait.nap(patience) {
                return Err(Error::Silent { party: party(rank), after: patience });
            }
        }
        self.universe = None;
        Ok(())
    }

    /// Sends a frame to all that hear this rank.
    fn say(&mut self, kind: u8, bits: &Bits) {
        let frame = Arc::new([&[kind], &bits.len().to_le_bytes()[..], bits.bytes()].concat());
        for &rank in &self.others {
            let to = self.world.process_at_rank(rank as Rank);
            for start in (0..frame.len()).step_by(PIECE) {
                let piece = start..frame.len().min(start + PIECE);
                self.outbox.push_back((rank, Transfer::send(to, &frame, piece)));
            }
        }
        self.spoke = Instant::now();
        self.push();
    }

    /// Lets go of what has arrived.
    fn push(&mut self) {
        while self.outbox.front_mut().is_some_and(|(_, piece)| piece.done()) {
            self.outbox.pop_front();
        }
    }

    /// A sign of life, unless one was given just now: more would only fill the others' memory.
    fn sign(&mut self) {
        if self.spoke.elapsed() * 8 >= self.timeout {
            self.say(ALIVE, &Bits::default());
        }
        self.push();
    }

    /// The next piece from `rank`, if it has come.
    fn look(&mut self, rank: usize) -> Result<Option<News>, Error> {
        self.push();
        let inbox = &mut self.inbox[rank];
        if inbox.piece.is_none() {
            inbox.piece = Transfer::receive(self.world.process_at_rank(rank as Rank));
        }
        let Some(piece) = inbox.piece.take_if(Transfer::done) else { return Ok(None) };
        inbox.frame.extend_from_slice(&piece.bytes);
        let news =
            unframe(&inbox.frame).ok_or_else(|| Error::Garbled { party: party(rank), fault: "a broken frame".into() });
        if !matches!(news, Ok(News::Part)) {
            inbox.frame = Vec::new();
        }
        if let Ok(News::Farewell(lost)) = news {
            inbox.lost = Some(lost);
        }
        news.map(Some)
    }

    /// What `from` says next; the coordinator gives signs of life meanwhile.
    fn next(&mut self, from: Party) -> Result<Bits, Error> {
        let rank = rank(from);
        let mut wait = Wait::new();
        while self.others.contains(&rank) && self.inbox[rank].lost.is_none() {
            match self.look(rank)? {
                Some(News::Bits(bits)) => return Ok(bits),
                Some(_) => wait = Wait::new(),
                None if wait.nap(self.timeout) => {}
                None => return Err(Error::Silent { party: from, after: self.timeout }),
            }
            if self.me == Party::Coordinator {
                self.sign();
            }
        }
        let lost = self.inbox.get(rank).and_then(|inbox| inbox.lost);
        Err(Error::Lost { party: lost.unwrap_or(from) })
    }
}

impl Link for Ranks {
    /// Neither waits nor fails: who is gone shows when it is read from.
    fn write(&mut self, bits: &Bits) -> Result<(), Error> {
        self.say(BITS, bits);
        self.wire_bytes += (HEADER + bits.bytes().len()) as u64 * self.reach.times(self.others.len());
        Ok(())
    }

    /// [`Error::Lost`] names the party that failed first, as far as it is known.
    fn read(&mut self, from: Party) -> Result<Bits, Error> {
        let bits = self.next(from);
        if let Err(Error::Lost { party } | Error::Silent { party, .. } | Error::Garbled { party, .. }) = bits {
            self.lost.get_or_insert(party);
        }
        bits
    }

    /// Neither waits nor fails. At most eight signs in the time-out are sent.
    fn alive(&mut self) -> Result<(), Error> {
        self.sign();
        Ok(())
    }

    fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        if self.universe.is_some() {
            let _ = self.leave(GRACE, false);
        }
        // With a rank missing, `MPI_Finalize` would wait for it.
        mem::forget(self.universe.take());
    }
}

/// What came from a rank: the pieces of the next frame, the one that is on its way, and who is lost, by its farewell.
#[derive(Default)]
struct Inbox {
    frame: Vec<u8>,
    piece: Option<Transfer<Vec<u8>>>,
    lost: Option<Party>,
}

/// What a frame says.
#[derive(Debug, PartialEq)]
enum News {
    Bits(Bits),
    Alive,
    Farewell(Party),
    /// All have said farewell, which the coordinator alone knows for sure.
    End,
    /// More pieces are to come.
    Part,
}

/// What the pieces of a frame say, unless they are none of a frame.
fn unframe(pieces: &[u8]) -> Option<News> {
    let (header, bytes) = pieces.split_first_chunk::<HEADER>()?;
    let (&kind, length) = header.split_first()?;
    let length = u64::from_le_bytes(length.try_into().ok()?);
    match kind {
        BITS if length.div_ceil(8) > bytes.len() as u64 => pieces.len().is_multiple_of(PIECE).then_some(News::Part),
        BITS => Bits::from_bytes(bytes.to_vec(), length).map(News::Bits),
        ALIVE if length == 0 && bytes.is_empty() => Some(News::Alive),
        END if length == 0 && bytes.is_empty() => Some(News::End),
        FAREWELL if length == u64::from(RANK_BITS) => {
            let rank = u32::from_le_bytes(bytes.try_into().ok()?);
            Some(News::Farewell(party(rank as usize)))
        }
        _ => None,
    }
}

/// Since when one waits, asleep between two looks.
struct Wait {
    since: Instant,
}

impl Wait {
    fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Sleeps a while, unless `timeout` is over. A nap is short beside the wait so far: naps that double made two ranks
    /// that answer each other oversleep in turn, up to 3 ms a round instead of a few naps.
    fn nap(&self, timeout: Duration) -> bool {
        let waited = self.since.elapsed();
        let left = timeout.saturating_sub(waited);
        thread::sleep((waited / 16).clamp(NAP.start, NAP.end).min(left));
        !left.is_zero()
    }
}

/// An immediate send or receive, and the bytes that MPI reads or writes until it is done. Dropped before, it leaves them
/// to MPI.
struct Transfer<B> {
    request: ffi::MPI_Request,
    bytes: ManuallyDrop<B>,
}

impl Transfer<Arc<Vec<u8>>> {
    fn send(to: Process<'_>, frame: &Arc<Vec<u8>>, piece: Range<usize>) -> Self {
        let (bytes, kind) = (&frame[piece], u8::equivalent_datatype().as_raw());
        let (address, count) = (bytes.as_ptr().cast(), bytes.len() as mpi::Count);
        // SAFETY: MPI runs, as there is a process of it. The transfer holds the frame, which nobody changes.
        let request = unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            ffi::MPI_Isend(address, count, kind, to.rank(), TAG, to.as_communicator().as_raw(), &mut request);
            request
        };
        Self { request, bytes: ManuallyDrop::new(Arc::clone(frame)) }
    }
}

impl Transfer<Vec<u8>> {
    /// Begins to receive what comes next, if there is something.
    fn receive(from: Process<'_>) -> Option<Self> {
        let (mut message, status) = from.immediate_matched_probe_with_tag(TAG)?;
        let (kind, count) = (u8::equivalent_datatype(), status.count(u8::equivalent_datatype()));
        let mut bytes = vec![0_u8; count as usize];
        let address = bytes.as_mut_ptr().cast();
        // SAFETY: the message has `count` bytes, and so has the buffer, which the transfer holds; nobody looks at it before
        // the transfer is done.
        let request = unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            ffi::MPI_Imrecv(address, count, kind.as_raw(), message.as_raw_mut(), &mut request);
            request
        };
        Some(Self { request, bytes: ManuallyDrop::new(bytes) })
    }
}

impl<B> Transfer<B> {
    fn done(&mut self) -> bool {
        let mut done = 0;
        // SAFETY: the request is MPI's own; MPI makes it null when it is done, and then calls it done again.
        unsafe { ffi::MPI_Test(&mut self.request, &mut done, ffi::RSMPI_STATUS_IGNORE) };
        done != 0
    }
}

impl<B> Drop for Transfer<B> {
    fn drop(&mut self) {
        // SAFETY: a constant of MPI. The bytes are dropped here alone, and MPI no longer uses them.
        unsafe {
            if self.request == ffi::RSMPI_REQUEST_NULL {
                ManuallyDrop::drop(&mut self.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u64, bytes: &[u8]) -> Vec<u8> {
        [&[kind], &length.to_le_bytes()[..], bytes].concat()
    }

    #[test]
    fn a_frame_says_what_was_framed() {
        let bits = Bits::from_bytes(vec![7, 1], 9).expect("nine bits");
        assert_eq!(unframe(&frame(BITS, 9, bits.bytes())), Some(News::Bits(bits)));
        assert_eq!(unframe(&frame(BITS, 0, &[])), Some(News::Bits(Bits::default())));
        assert_eq!(unframe(&frame(ALIVE, 0, &[])), Some(News::Alive));
        assert_eq!(unframe(&frame(END, 0, &[])), Some(News::End));
        assert_eq!(unframe(&frame(FAREWELL, 32, &[3, 0, 0, 0])), Some(News::Farewell(Party::Site(2))));
        assert_eq!(unframe(&frame(BITS, 8 * PIECE as u64, &vec![0; PIECE - HEADER])), Some(News::Part));
    }

    #[test]
    fn other_bytes_are_no_frame() {
        assert_eq!(unframe(&[]), None);
        assert_eq!(unframe(&frame(BITS, 9, &[7, 1])[..8]), None, "a header cut short");
        assert_eq!(unframe(&frame(BITS, 9, &[7])), None, "a byte missing");
        assert_eq!(unframe(&frame(BITS, 9, &[7, 1, 0])), None, "a byte too many");
        assert_eq!(unframe(&frame(BITS, 9, &[7, 2])), None, "padding that is not zero");
        assert_eq!(unframe(&frame(BITS, u64::MAX, &[7])), None, "a length without end");
        assert_eq!(unframe(&frame(ALIVE, 0, &[7])), None, "a sign of life with bits");
        assert_eq!(unframe(&frame(FAREWELL, 32, &[3, 0, 0])), None, "a farewell of nobody");
        assert_eq!(unframe(&frame(4, 0, &[])), None, "no kind");
    }
}
