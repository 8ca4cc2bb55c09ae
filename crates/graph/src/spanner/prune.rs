//! Fewer clusters, and fewer arcs for those that are left, with the same certificate.
//!
//! While a spanner grows, a cluster cannot know which later ones will serve its sources too, nor which arcs later ones will
//! bring. Here all are known: clusters whose every source others serve at that scale go, the smallest first (set cover),
//! and H is built again from nothing for those that stay.

use std::collections::HashMap;

use super::ball::{Explorer, Grown, Member};
use super::{Cluster, Spanner};
use crate::components::Components;
use crate::digraph::{ArcSet, Digraph};
use crate::order::Ordered;

/// A spanner with the same stretch as `spanner`, one of [`certified`](super::certified())'s for `sources`, and no more arcs.
pub fn prune(graph: &Digraph, sources: &[u32], spanner: &Spanner) -> Spanner {
    let ordered = Ordered::by_breadth(graph);
    let components = Components::of(&ordered.graph);
    let mut explorer = Explorer::new(&ordered.graph);
    let mut is_source = vec![false; graph.vertices()];
    for &source in sources {
        is_source[ordered.new[source as usize] as usize] = true;
    }
    let clusters: Vec<_> = spanner
        .clusters
        .iter()
        .map(|cluster| Cluster { centre: ordered.new[cluster.centre as usize], ..*cluster })
        .collect();
    let mut pass = Pass { graph: &ordered.graph, components: &components, explorer: &mut explorer };
    let needed = pass.needed(&clusters, &is_source);

    // From the widest clusters to the narrowest, or the other way round: either may be the better.
    let widest_first: Vec<_> = needed.iter().rev().copied().collect();
    let rebuilt = [&needed, &widest_first].map(|order| pass.build(order));
    let fewest = rebuilt.into_iter().min_by_key(ArcSet::len).expect("two orders were tried");
    let relaxations = spanner.relaxations + explorer.relaxations();
    if fewest.len() >= spanner.arcs.len() {
        return Spanner { relaxations, ..spanner.clone() };
    }
    let clusters =
        needed.iter().map(|cluster| Cluster { centre: ordered.old[cluster.centre as usize], ..*cluster }).collect();
    Spanner { arcs: ordered.restore(&fewest, graph), clusters, relaxations, ..*spanner }
}

struct Pass<'a> {
    graph: &'a Digraph,
    components: &'a Components,
    explorer: &'a mut Explorer,
}

impl Pass<'_> {
    /// The clusters without those whose sources are all served by others of the same scale.
    fn needed(&mut self, clusters: &[Cluster], is_source: &[bool]) -> Vec<Cluster> {
        let mut needed = Vec::new();
        for of_scale in clusters.chunk_by(|a, b| a.scale == b.scale) {
            let served: Vec<_> = of_scale.iter().map(|cluster| self.serves(cluster, is_source)).collect();
            let mut by: HashMap<u32, u32> = HashMap::new();
            served.iter().flatten().for_each(|&source| *by.entry(source).or_default() += 1);
            let mut order: Vec<_> = (0..of_scale.len()).collect();
            order.sort_by_key(|&index| served[index].len());
            let mut kept = vec![true; of_scale.len()];
            for index in order {
                // One that covers a component serves it at higher scales too.
                if served[index].iter().all(|source| by[source] > 1) && !self.is_whole(&of_scale[index]) {
                    kept[index] = false;
                    served[index].iter().for_each(|source| *by.get_mut(source).expect("it is counted") -= 1);
                }
            }
            needed.extend(of_scale.iter().zip(kept).filter(|(_, kept)| *kept).map(|(cluster, _)| *cluster));
        }
        needed
    }

    fn explore(&mut self, cluster: &Cluster) -> &[Member] {
        let (centre, components) = (cluster.centre, self.components);
        self.explorer.explore(self.graph, centre, cluster.radius, true, |vertex| components.together(centre, vertex))
    }

    fn is_whole(&mut self, cluster: &Cluster) -> bool {
        self.explore(cluster).len() == self.components.size(cluster.centre) as usize
    }

    /// The sources that a cluster serves at its scale: those whose balls are inside, or itself alone if its limit is made
    /// for that.
    fn serves(&mut self, cluster: &Cluster, is_source: &[bool]) -> Vec<u32> {
        let inside = cluster.radius - cluster.scale;
        let members = self.explore(cluster);
        let serves = |member: &&Member| {
            member.vertex == cluster.centre || member.round_trip <= inside && is_source[member.vertex as usize]
        };
        members.iter().filter(serves).map(|member| member.vertex).collect()
    }

    /// H for these clusters, in this order.
    fn build(&mut self, clusters: &[Cluster]) -> ArcSet {
        let mut kept = Grown::none(self.graph);
        for cluster in clusters {
            self.explore(cluster);
            let allowed = |member: &Member| (member.round_trip <= cluster.radius).then_some(cluster.limit);
            for arc in self.explorer.missing(self.graph, &kept, allowed, cluster.limit, true, true) {
                kept.insert(arc);
            }
        }
        kept.out
    }
}
