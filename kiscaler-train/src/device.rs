//! Where the networks are computed.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// An unknown name.
    #[error("device: found {0:?}, expected \"cpu\" or \"cuda\"")]
    Unknown(String),
    /// Built without it.
    #[error("device cuda: this program was built without the feature `cuda`; build with `--features cuda`, or use cpu")]
    NotBuilt,
    /// There is none, or none that works.
    #[error("device cuda: no NVIDIA GPU can be used here ({0}); install its driver, or use cpu")]
    NoDriver(String),
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
        })
    }
}

impl FromStr for DeviceKind {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "cpu" => Ok(DeviceKind::Cpu),
            "cuda" => Ok(DeviceKind::Cuda),
            _ => Err(DeviceError::Unknown(name.to_owned())),
        }
    }
}

/// Opens a device. Never panics: without the feature or a driver, the error says what to do.
pub fn device(kind: DeviceKind) -> Result<Device, DeviceError> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Cuda => cuda(),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// cudarc panics where it finds no driver library, so the attempt is fenced in.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, DeviceError> {
    match std::panic::catch_unwind(|| Device::new_cuda(0)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(DeviceError::NoDriver(error.to_string().lines().next().unwrap_or_default().to_owned())),
        Err(_) => Err(DeviceError::NoDriver("its driver's library cannot be loaded".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for kind in [DeviceKind::Cpu, DeviceKind::Cuda] {
            assert_eq!(kind.to_string().parse::<DeviceKind>().unwrap(), kind);
        }
        let error = "gpu".parse::<DeviceKind>().unwrap_err();
        assert_eq!(error.to_string(), "device: found \"gpu\", expected \"cpu\" or \"cuda\"");
    }

    #[test]
    fn a_missing_gpu_is_an_error_that_says_what_to_do() {
        assert!(device(DeviceKind::Cpu).is_ok());
        match device(DeviceKind::Cuda) {
            Ok(device) => assert!(device.is_cuda()),
            Err(error) => assert!(error.to_string().ends_with("use cpu"), "{error}"),
        }
    }
}
