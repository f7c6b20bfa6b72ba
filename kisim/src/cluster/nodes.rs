//! Nodes, their capacity, and who fits where.

use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::distribution::TimeDistribution;

/// A group of equal nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeGroup {
    /// Name, for messages.
    pub name: String,
    /// How many there are at the start.
    pub count: u32,
    /// CPU cores of each, for pods.
    pub cpus: f64,
    /// GPUs of each.
    #[serde(default)]
    pub gpus: u32,
    /// Adds and removes nodes of the group as pods need them.
    #[serde(default)]
    pub autoscaler: Option<NodeAutoscaler>,
}

/// Adds a node when a pod fits nowhere, removes one that stays empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeAutoscaler {
    /// Most nodes of the group, at least `count`, which is the least.
    pub max: u32,
    /// From noticing an unschedulable pod until the new node is ready. Typical are 30–40 s (karpenter #6165) to 80–100 s
    /// (karpenter #3102).
    #[serde(default = "provisioning")]
    pub provisioning: TimeDistribution,
    /// An added node that is empty for this long is removed.
    #[serde(default = "ten_minutes")]
    pub scale_down_after: Span,
}

fn provisioning() -> TimeDistribution {
    TimeDistribution::Uniform { low: Span::secs(30), high: Span::secs(100) }
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its group's number.
    pub group: usize,
    /// Whether it can take pods.
    pub up: bool,
    /// Whether it exists at all; a removed node's place is used again.
    pub exists: bool,
    /// CPU cores not asked for by its pods.
    pub cpus_free: f64,
    /// Pods on each GPU; `None` where a GPU is lost.
    pub gpus: Vec<Option<u32>>,
    /// Pods on the node.
    pub pods: u32,
    /// Pools whose image it has.
    pub images: Vec<bool>,
    /// How many times longer its batches take.
    pub slowdown: f64,
    /// Until when it is slow, nanoseconds.
    pub slow_until: u64,
    /// When it came, nanoseconds: tells it from a later node in its place.
    pub born: u64,
    /// Since when it is empty, nanoseconds.
    pub empty_since: u64,
}

/// What a pod asks of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// CPU cores.
    pub cpus: f64,
    /// Whether it needs a GPU, or a share of one.
    pub gpu: bool,
    /// Pods that may share one GPU.
    pub per_gpu: u32,
}

/// A place on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node's number.
    pub node: usize,
    /// The GPU's number on the node.
    pub gpu: Option<usize>,
}

impl Node {
    /// A new, empty node of `group`.
    pub fn new(group: usize, spec: &NodeGroup, pools: usize, images_cached: &[bool], now: u64) -> Self {
        Node {
            group,
            up: true,
            exists: true,
            cpus_free: spec.cpus,
            gpus: vec![Some(0); spec.gpus as usize],
            pods: 0,
            images: (0..pools).map(|pool| images_cached.get(pool).copied().unwrap_or(false)).collect(),
            slowdown: 1.0,
            slow_until: 0,
            born: now,
            empty_since: now,
        }
    }

    fn free_gpu_shares(&self, per_gpu: u32) -> u32 {
        self.gpus.iter().flatten().map(|&pods| per_gpu.saturating_sub(pods)).sum()
    }

    fn fits(&self, demand: &Demand) -> bool {
        // A small tolerance: cores are added and subtracted as floats.
        self.exists
            && self.up
            && self.cpus_free + 1e-9 >= demand.cpus
            && (!demand.gpu || self.free_gpu_shares(demand.per_gpu) > 0)
    }

    /// Takes what `demand` asks for; the GPU with the fewest pods, as the device plugin spreads them.
    pub fn take(&mut self, demand: &Demand) -> Option<usize> {
        self.cpus_free -= demand.cpus;
        self.pods += 1;
        if !demand.gpu {
            return None;
        }
        let gpu = (0..self.gpus.len())
            .filter(|&g| self.gpus[g].is_some_and(|pods| pods < demand.per_gpu))
            .min_by_key(|&g| self.gpus[g])?;
        self.gpus[gpu] = self.gpus[gpu].map(|pods| pods + 1);
        Some(gpu)
    }

    /// Gives back what a pod of `demand` on `gpu` had.
    pub fn give_back(&mut self, demand: &Demand, gpu: Option<usize>, now: u64) {
        self.cpus_free += demand.cpus;
        self.pods -= 1;
        if self.pods == 0 {
            self.empty_since = now;
        }
        if let Some(pods) = gpu.and_then(|g| self.gpus[g].as_mut()) {
            *pods -= 1;
        }
    }
}

/// The node for a pod: of those it fits on, the fullest (fewest free GPU shares, then fewest free cores), so that
/// others stay empty and can be removed; the first of equals.
pub fn best_fit(nodes: &[Node], demand: &Demand) -> Option<usize> {
    (0..nodes.len()).filter(|&n| nodes[n].fits(demand)).min_by(|&a, &b| {
        let key = |n: usize| (nodes[n].free_gpu_shares(demand.per_gpu), nodes[n].cpus_free);
        let ((gpu_a, cpu_a), (gpu_b, cpu_b)) = (key(a), key(b));
        // A pod without a GPU keeps away from GPU nodes: their cores are needed beside the GPUs.
        gpu_a.cmp(&gpu_b).then(cpu_a.total_cmp(&cpu_b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(cpus: f64, gpus: u32) -> NodeGroup {
        NodeGroup { name: "n".into(), count: 1, cpus, gpus, autoscaler: None }
    }

    #[test]
    fn pods_are_packed_and_gpus_spread_within_a_node() {
        let spec = group(8.0, 2);
        let mut nodes = vec![Node::new(0, &spec, 1, &[true], 0), Node::new(0, &spec, 1, &[true], 0)];
        let demand = Demand { cpus: 2.0, gpu: true, per_gpu: 2 };
        let mut places = Vec::new();
        while let Some(node) = best_fit(&nodes, &demand) {
            let gpu = nodes[node].take(&demand);
            places.push((node, gpu));
        }
        let on = |node, gpu| (node, Some(gpu));
        assert_eq!(places, [on(0, 0), on(0, 1), on(0, 0), on(0, 1), on(1, 0), on(1, 1), on(1, 0), on(1, 1)]);
        nodes[0].give_back(&demand, Some(1), 5);
        assert_eq!(best_fit(&nodes, &demand), Some(0));
        nodes[0].gpus[1] = None;
        assert_eq!(best_fit(&nodes, &demand), None);
    }

    #[test]
    fn pods_without_a_gpu_go_where_fewest_gpu_shares_are() {
        let nodes = vec![Node::new(0, &group(8.0, 4), 1, &[true], 0), Node::new(1, &group(8.0, 0), 1, &[true], 0)];
        assert_eq!(best_fit(&nodes, &Demand { cpus: 4.0, gpu: false, per_gpu: 1 }), Some(1));
    }
}
