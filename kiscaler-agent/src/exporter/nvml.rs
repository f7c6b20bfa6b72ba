//! What the driver says of each GPU.

use std::ffi::OsString;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// A driver that was found.
#[derive(Debug)]
pub struct Driver {
    nvml: Nvml,
    /// Its version, as 570.86.15.
    pub version: String,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The library is not there.
    #[error(
        "cannot load NVML from {path}: {reason}; expected NVIDIA's driver on this node, and in a container its library \
         (runtime class nvidia, or NVIDIA_VISIBLE_DEVICES=all)"
    )]
    Library {
        /// The path, or the name that is searched for.
        path: String,
        /// The loader's reason.
        reason: NvmlError,
    },
    /// The library is there and cannot begin.
    #[error("NVML from {path} does not start: {reason}")]
    Start {
        /// The path, or the name that is searched for.
        path: String,
        /// NVML's reason.
        reason: NvmlError,
    },
    /// It cannot tell how many GPUs there are.
    #[error("NVML does not tell the number of GPUs: {0}")]
    Count(NvmlError),
}

/// A figure of a GPU, by what DCGM calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Share of the last sample period (a sixth of a second to a second) with at least one kernel, percent.
    GpuUtil,
    /// Share of it in which memory was read or written, percent.
    MemCopyUtil,
    /// Memory in use, MiB.
    FbUsed,
    /// Memory free, MiB.
    FbFree,
    /// Memory that driver and firmware keep, MiB.
    FbReserved,
    /// Power, watts.
    PowerUsage,
    /// Energy since the driver was loaded, millijoules.
    TotalEnergy,
    /// Temperature of the GPU, °C.
    GpuTemp,
    /// Clock of the multiprocessors, MHz.
    SmClock,
    /// Clock of the memory, MHz.
    MemClock,
    /// Use of the encoder, percent.
    EncUtil,
    /// Use of the decoder, percent.
    DecUtil,
    /// PCIe replays since the driver was loaded.
    PcieReplays,
}

impl Field {
    /// DCGM's name, whether it only grows, and its unit for people.
    pub fn name(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Field::GpuUtil => ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %)."),
            Field::MemCopyUtil => ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %)."),
            Field::FbUsed => ("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB)."),
            Field::FbFree => ("DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB)."),
            Field::FbReserved => ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB)."),
            Field::PowerUsage => ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W)."),
            Field::TotalEnergy => {
                ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).")
            }
            Field::GpuTemp => ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C)."),
            Field::SmClock => ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz)."),
            Field::MemClock => ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz)."),
            Field::EncUtil => ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %)."),
            Field::DecUtil => ("DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %)."),
            Field::PcieReplays => ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries."),
        }
    }
}

/// What a GPU did not say, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The GPU's index.
    pub gpu: u32,
    /// What was asked for: DCGM's name, or `device` for the GPU itself.
    pub field: &'static str,
    /// NVML's reason.
    pub reason: String,
}

/// What a GPU says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Its index.
    pub gpu: u32,
    /// Its identifier, as GPU-….
    pub uuid: String,
    /// Its product's name.
    pub model: String,
    /// Where it is on the bus, as 00000000:17:00.0.
    pub bus_id: String,
    /// Its device file's number.
    pub minor: Option<u32>,
    /// Figures that it gives.
    pub fields: Vec<(Field, f64)>,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Driver {
    /// Loads NVML, from `path` if there is one, and starts it.
    ///
    /// # Errors
    /// If the library or the driver is not there.
    pub fn load(path: Option<&OsString>) -> Result<Driver, DriverError> {
        let said = path.map_or("libnvidia-ml.so.1".to_owned(), |p| p.to_string_lossy().into_owned());
        let mut builder = Nvml::builder();
        if let Some(path) = path {
            builder.lib_path(path);
        }
        let nvml = builder.init().map_err(|reason| match reason {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
                DriverError::Library { path: said.clone(), reason }
            }
            reason => DriverError::Start { path: said.clone(), reason },
        })?;
        let version = nvml.sys_driver_version().unwrap_or_default();
        Ok(Driver { nvml, version })
    }

    /// What all GPUs say, and what some did not.
    ///
    /// # Errors
    /// If not even their number is known: the driver was unloaded, say.
    pub fn read(&self) -> Result<(Vec<Reading>, Vec<FieldError>), DriverError> {
        let count = self.nvml.device_count().map_err(DriverError::Count)?;
        let (mut readings, mut errors) = (Vec::new(), Vec::new());
        for gpu in 0..count {
            let device = self.nvml.device_by_index(gpu);
            match device.and_then(|device| read(&device, gpu, &mut errors)) {
                Ok(reading) => readings.push(reading),
                Err(reason) => errors.push(FieldError { gpu, field: "device", reason: reason.to_string() }),
            }
        }
        Ok((readings, errors))
    }
}

/// Fails where the GPU does not even say who it is.
fn read(device: &Device<'_>, gpu: u32, errors: &mut Vec<FieldError>) -> Result<Reading, NvmlError> {
    let mut fields = Vec::new();
    let mut take = |field: Field, value: Result<f64, NvmlError>| match value {
        Ok(value) => fields.push((field, value)),
        // An old driver has no such function; a GPU may not have what it asks for. Neither is a failure.
        Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => {}
        Err(reason) => errors.push(FieldError { gpu, field: field.name().0, reason: reason.to_string() }),
    };
    let uuid = device.uuid()?;
    match device.utilization_rates() {
        Ok(rates) => {
            take(Field::GpuUtil, Ok(rates.gpu.into()));
            take(Field::MemCopyUtil, Ok(rates.memory.into()));
        }
        Err(reason) => take(Field::GpuUtil, Err(reason)),
    }
    match device.memory_info() {
        Ok(memory) => {
            for (field, bytes) in
                [(Field::FbUsed, memory.used), (Field::FbFree, memory.free), (Field::FbReserved, memory.reserved)]
            {
                take(field, Ok((bytes as f64 / MIB).floor()));
            }
        }
        Err(reason) => take(Field::FbUsed, Err(reason)),
    }
    take(Field::PowerUsage, device.power_usage().map(|milliwatts| f64::from(milliwatts) / 1e3));
    take(Field::TotalEnergy, device.total_energy_consumption().map(|millijoules| millijoules as f64));
    take(Field::GpuTemp, device.temperature(TemperatureSensor::Gpu).map(f64::from));
    take(Field::SmClock, device.clock_info(Clock::SM).map(f64::from));
    take(Field::MemClock, device.clock_info(Clock::Memory).map(f64::from));
    take(Field::EncUtil, device.encoder_utilization().map(|use_of| use_of.utilization.into()));
    take(Field::DecUtil, device.decoder_utilization().map(|use_of| use_of.utilization.into()));
    take(Field::PcieReplays, device.pcie_replay_counter().map(f64::from));
    Ok(Reading {
        gpu,
        uuid,
        model: device.name().unwrap_or_default(),
        bus_id: device.pci_info().map(|pci| pci.bus_id).unwrap_or_default(),
        minor: device.minor_number().ok(),
        fields,
    })
}
