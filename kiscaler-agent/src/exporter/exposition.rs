//! Readings as the DCGM exporter would print them (Prometheus text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::attribution::{Attribution, Owner};
use super::nvml::{Field, FieldError, Reading};

/// The text of a scrape. Labels are the DCGM exporter's: `gpu`, `UUID`, `pci_bus_id`, `device`, `modelName`, `Hostname`,
/// `DCGM_FI_DRIVER_VERSION` and, where somebody has the GPU, `container`, `namespace` and `pod`. A GPU that several pods
/// share has its series once for each of them.
pub fn exposition(
    readings: &[Reading],
    errors: &[FieldError],
    owners: &Attribution,
    host: &str,
    driver: &str,
) -> String {
    let mut text = String::new();
    let mut families: BTreeMap<Field, Vec<(&Reading, f64)>> = BTreeMap::new();
    for reading in readings {
        for &(field, value) in &reading.fields {
            families.entry(field).or_default().push((reading, value));
        }
    }
    // Writing to a String cannot fail.
    for (field, series) in families {
        let (name, kind, help) = field.name();
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (reading, value) in series {
            let own = labels(reading, host, driver);
            match owners.of(&reading.uuid) {
                [] => {
                    let _ = writeln!(text, "{name}{{{own}}} {value}");
                }
                owners => {
                    for owner in owners {
                        let _ = writeln!(text, "{name}{{{own}{}}} {value}", whose(owner));
                    }
                }
            }
        }
    }
    let name = "kiscaler_gpu_exporter_errors";
    let _ = write!(text, "# HELP {name} Figures that a GPU did not give at this scrape.\n# TYPE {name} gauge\n");
    let mut counts: BTreeMap<(u32, &str), u32> = BTreeMap::new();
    for reading in readings {
        counts.insert((reading.gpu, ""), 0);
    }
    for error in errors {
        *counts.entry((error.gpu, error.field)).or_default() += 1;
    }
    for ((gpu, field), count) in counts {
        let field = if field.is_empty() { String::new() } else { format!(",field=\"{field}\"") };
        let _ = writeln!(text, "{name}{{gpu=\"{gpu}\"{field}}} {count}");
    }
    text
}

fn labels(reading: &Reading, host: &str, driver: &str) -> String {
    let device = reading.minor.map(|minor| format!("nvidia{minor}")).unwrap_or_default();
    let gpu = reading.gpu.to_string();
    let all = [
        ("gpu", gpu.as_str()),
        ("UUID", &reading.uuid),
        ("pci_bus_id", &reading.bus_id),
        ("device", &device),
        ("modelName", &reading.model),
        ("Hostname", host),
        ("DCGM_FI_DRIVER_VERSION", driver),
    ];
    all.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).join(",")
}

fn whose(owner: &Owner) -> String {
    let all = [("container", &owner.container), ("namespace", &owner.namespace), ("pod", &owner.pod)];
    all.map(|(name, value)| format!(",{name}=\"{}\"", escaped(value))).concat()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_no_series() {
        let reading = |gpu: u32, fields: Vec<(Field, f64)>| Reading {
            gpu,
            uuid: format!("GPU-{gpu}"),
            model: "NVIDIA \"X\"".into(),
            minor: Some(gpu),
            fields,
            ..Reading::default()
        };
        let readings = [
            reading(0, vec![(Field::GpuUtil, 37.0), (Field::PowerUsage, 61.25)]),
            reading(1, vec![(Field::GpuUtil, 0.0)]),
        ];
        let errors = [FieldError { gpu: 1, field: "DCGM_FI_DEV_POWER_USAGE", reason: "lost".into() }];
        let text = exposition(&readings, &errors, &Attribution::default(), "node", "570.1");
        let own = r#"UUID="GPU-0",pci_bus_id="",device="nvidia0",modelName="NVIDIA \"X\"",Hostname="node""#;
        let util = format!("DCGM_FI_DEV_GPU_UTIL{{gpu=\"0\",{own},DCGM_FI_DRIVER_VERSION=\"570.1\"}} 37\n");
        assert!(text.contains(&util), "{util} in\n{text}");
        assert_eq!(text.matches("DCGM_FI_DEV_GPU_UTIL{").count(), 2, "0 % is a value");
        assert_eq!(text.matches("DCGM_FI_DEV_POWER_USAGE{").count(), 1, "none is none");
        assert!(text.contains("kiscaler_gpu_exporter_errors{gpu=\"1\",field=\"DCGM_FI_DEV_POWER_USAGE\"} 1\n"));
        assert!(text.contains("kiscaler_gpu_exporter_errors{gpu=\"0\"} 0\n"), "{text}");
    }

    #[test]
    fn a_gpu_that_pods_share_is_each_ones() {
        let reading = Reading { uuid: "GPU-a".into(), fields: vec![(Field::GpuUtil, 5.0)], ..Reading::default() };
        let mut owners = Attribution::default();
        for pod in ["one", "two"] {
            owners.add("GPU-a", Owner { namespace: "n".into(), pod: pod.into(), container: "c".into() });
        }
        let text = exposition(&[reading], &[], &owners, "node", "");
        for pod in ["one", "two"] {
            assert!(text.contains(&format!(r#",container="c",namespace="n",pod="{pod}"}} 5"#)), "{text}");
        }
        assert_eq!(text.matches("DCGM_FI_DEV_GPU_UTIL{").count(), 2);
    }
}
