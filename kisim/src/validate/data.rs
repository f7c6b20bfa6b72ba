//! The simulator against measurements: fitted on a batch sweep, it predicts a concurrency sweep.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::autoscaler::AutoscalerConfig;
use crate::config::Span;
use crate::distribution::TimeDistribution;
use crate::prepared::Prepared;
use crate::run::{Keep, RunError, run, silent};
use crate::scenario::Scenario;
use crate::simulation::SimulationError;
use crate::traffic::Traffic;

/// (requests kept in flight, inferences/s, mean latency ms, P95 ms): ResNet-50, ONNX Runtime with TensorRT FP16, dynamic
/// batching, one A100 80GB. NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/triton/resnet50/README.md,
/// section "Online", commit 729963dd.
const MEASURED: [(u32, f64, f64, f64); 16] = [
    (16, 2571.2, 6.218, 6.31),
    (32, 3600.2, 8.886, 9.353),
    (48, 4274.2, 11.225, 12.1),
    (64, 4387.7, 14.577, 15.211),
    (80, 4630.1, 17.273, 17.9),
    (96, 4893.9, 19.607, 20.411),
    (112, 4887.6, 22.922, 23.902),
    (128, 5411.5, 23.66, 24.557),
    (144, 5322.9, 27.05, 29.725),
    (160, 5310.5, 30.137, 31.91),
    (176, 5458.7, 32.236, 33.478),
    (192, 5654.1, 33.939, 36.302),
    (208, 5643.7, 36.864, 38.766),
    (224, 5795.5, 38.642, 40.563),
    (240, 5855.8, 40.971, 44.449),
    (256, 6127.3, 41.764, 43.694),
];

/// A row of the measured table beside its prediction.
#[derive(Clone, Debug, Serialize)]
pub struct DataRow {
    /// Requests kept in flight.
    pub concurrency: u32,
    /// Measured inferences a second.
    pub measured_throughput: f64,
    /// Predicted.
    pub predicted_throughput: f64,
    /// Measured mean latency, ms.
    pub measured_mean_ms: f64,
    /// Predicted.
    pub predicted_mean_ms: f64,
    /// Measured 95th percentile, ms.
    pub measured_p95_ms: f64,
    /// Predicted.
    pub predicted_p95_ms: f64,
    /// Predicted over measured throughput, less one.
    pub throughput_error: f64,
}

const SCENARIO: &str = "
name = 'online table'
duration = '22s'
warm_up = '2s'
slo = { latency = '100ms' }
[traffic]
kind = 'closed'
users = [['0s', 1]]
think = { distribution = 'constant', value = '0s' }
[service]
routing = 'round_robin'
placement = { rule = 'gpu_only' }
[pools.gpu]
profile = 'resnet50-onnx-trt-fp16-a100'
limits = { min_replicas = 1, max_replicas = 1 }
batcher = { max_batch = 128, instances = 1 }
[cluster]
nodes = [{ name = 'node', count = 1, cpus = 64.0, gpus = 1 }]
";

/// The measured concurrency sweep and what the profile of the batch sweep predicts for it.
pub fn online_table(seed: u64) -> Result<Vec<DataRow>, RunError> {
    MEASURED
        .iter()
        .map(|&(concurrency, measured_throughput, measured_mean_ms, measured_p95_ms)| {
            let config = |e| RunError::from(SimulationError::from(e));
            let mut scenario = Scenario::parse(SCENARIO, "validation", Path::new(".")).map_err(config)?;
            scenario.traffic = Traffic::Closed {
                users: vec![(Span::default(), concurrency)],
                ramp: false,
                think: TimeDistribution::constant(Span::default()),
            };
            let prepared: Arc<Prepared> = Prepared::new(scenario).map_err(config)?;
            let fixed = AutoscalerConfig::Fixed { replicas: Default::default() };
            let s = run(&prepared, &fixed, seed, Keep::default(), &silent)?.summary;
            let predicted_throughput = s.requests.completed as f64 / s.duration_s;
            Ok(DataRow {
                concurrency,
                measured_throughput,
                predicted_throughput,
                measured_mean_ms,
                predicted_mean_ms: s.latency_ms.mean.unwrap_or(f64::NAN),
                measured_p95_ms,
                predicted_p95_ms: s.latency_ms.p95.unwrap_or(f64::NAN),
                throughput_error: predicted_throughput / measured_throughput - 1.0,
            })
        })
        .collect()
}
