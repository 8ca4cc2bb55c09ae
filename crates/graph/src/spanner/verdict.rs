//! A rejected certificate as the owner of the files reads it: vertices by their ids, lengths in the file's unit.

use serde::Serialize;

use super::Certificate;
use super::check::Rejection;
use crate::file::GraphFile;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the certificate proves its stretch.
    pub accepted: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Which of the certificate's clusters is at fault, from 0.
    pub cluster: Option<usize>,
    /// Which source is at fault, by its id.
    pub source: Option<u64>,
}

/// The verdict on `certificate`, a certificate of the graph in `file`.
pub fn verdict(checked: Result<(), Rejection>, certificate: &Certificate, file: &GraphFile) -> Verdict {
    let Err(rejection) = checked else {
        return Verdict { accepted: true, reason: None, cluster: None, source: None };
    };
    let (cluster, source) = match rejection {
        Rejection::Malformed(cluster) | Rejection::Twice(cluster) | Rejection::TooFar { cluster, .. } => {
            (Some(cluster), None)
        }
        Rejection::MissingSource(vertex)
        | Rejection::StrangeSource(vertex)
        | Rejection::Gap { vertex, .. }
        | Rejection::Zero(vertex) => (None, Some(file.id(vertex))),
        Rejection::Terms { .. } => (None, None),
    };
    Verdict { accepted: false, reason: Some(reason(&rejection, certificate, file)), cluster, source }
}

fn reason(rejection: &Rejection, certificate: &Certificate, file: &GraphFile) -> String {
    let cluster = |number: usize| {
        let cluster = &certificate.clusters[number];
        let (centre, scale) = (file.id(cluster.centre), file.in_file(cluster.scale));
        format!("clusters[{number}] (centre {centre}, scale {scale})")
    };
    match *rejection {
        Rejection::Terms { .. } => rejection.to_string(),
        Rejection::MissingSource(source) => format!("source {} is missing in the certificate", file.id(source)),
        Rejection::StrangeSource(source) => {
            format!("source {} of the certificate was not asked for, or is listed twice", file.id(source))
        }
        Rejection::Malformed(number) => format!("{}: its scale, radius or limit is no distance", cluster(number)),
        Rejection::Twice(number) => format!("{} is listed twice", cluster(number)),
        Rejection::TooFar { cluster: number, member, round_trip, limit } => {
            let (member, limit) = (file.id(member), file.in_file(limit));
            let trip = if round_trip.is_finite() {
                format!("a round trip of {} to its centre", file.in_file(round_trip))
            } else {
                "a round trip to its centre that is longer or not there".into()
            };
            format!("{}: member {member} has, in H, {trip}; the limit is {limit}", cluster(number))
        }
        Rejection::Gap { vertex, from, to } => {
            let (source, from) = (file.id(vertex), file.in_file(from));
            let to = if to.is_finite() { format!(" up to {}", file.in_file(to)) } else { String::new() };
            format!("source {source}: no cluster answers for its round trips above {from}{to}")
        }
        Rejection::Zero(source) => {
            format!("source {} is no longer at distance 0 from all that it was", file.id(source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{self, ReadOptions};
    use crate::spanner::Cluster;

    #[test]
    fn a_rejection_is_told_by_ids_and_in_the_unit_of_the_file() {
        let file = file::from_bytes("g.gr", b"p sp 3 1\na 1 2 0.5\n".to_vec(), &ReadOptions::default()).unwrap();
        let clusters = vec![Cluster { scale: 10.0, centre: 1, radius: 25.0, limit: 40.0 }];
        let certificate = Certificate { stretch: 4.0, ratio: 2.0, sources: vec![0], clusters };
        let told = |rejection| {
            let verdict = verdict(Err(rejection), &certificate, &file);
            assert!(!verdict.accepted);
            (verdict.cluster, verdict.source, verdict.reason.unwrap())
        };
        let far = |round_trip| told(Rejection::TooFar { cluster: 0, member: 2, round_trip, limit: 40.0 }).2;
        assert_eq!(
            far(45.0),
            "clusters[0] (centre 2, scale 1): member 3 has, in H, a round trip of 4.5 to its centre; the limit is 4"
        );
        assert!(far(f64::INFINITY).contains("longer or not there"));
        let gap = Rejection::Gap { vertex: 0, from: 25.0, to: f64::INFINITY };
        let said = "source 1: no cluster answers for its round trips above 2.5".to_owned();
        assert_eq!(told(gap), (None, Some(1), said));
        assert_eq!(told(Rejection::Twice(0)).0, Some(0));
        assert!(verdict(Ok(()), &certificate, &file).accepted);
    }
}
