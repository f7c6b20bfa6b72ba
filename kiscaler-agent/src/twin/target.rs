//! What has the pods.

use std::fmt;
use std::str::FromStr;

use kube::core::{ApiResource, GroupVersionKind};

/// An object with a scale subresource, as kubectl names it, and the scenario's pool that its pods are.
///
/// ```
/// use kiscaler_agent::twin::Target;
/// let target: Target = "gpu=deploy/triton".parse()?;
/// assert_eq!((target.pool.as_deref(), target.kind(), target.name.as_str()), (Some("gpu"), "Deployment", "triton"));
/// assert_eq!("statefulset/a".parse::<Target>()?.to_string(), "statefulset/a");
/// # Ok::<(), kiscaler_agent::twin::ParseTargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pool, where one is named.
    pub pool: Option<String>,
    /// Its resource.
    pub resource: ApiResource,
    /// Its name.
    pub name: String,
    said: String,
}

/// Why a text names no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "target: found {found:?}, expected [POOL=]deploy/NAME, statefulset/NAME, replicaset/NAME or GROUP/VERSION/KIND/NAME"
)]
pub struct ParseTargetError {
    /// The text.
    pub found: String,
}

impl Target {
    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.resource.kind
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Target, ParseTargetError> {
        let error = || ParseTargetError { found: text.to_owned() };
        let (pool, said) = match text.split_once('=') {
            Some((pool, rest)) if !pool.is_empty() => (Some(pool.to_owned()), rest),
            Some(_) => return Err(error()),
            None => (None, text),
        };
        let parts: Vec<&str> = said.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(error());
        }
        let apps = |kind: &str| GroupVersionKind::gvk("apps", "v1", kind);
        let (kind, name) = match parts[..] {
            [kind, name] => {
                let kind = match kind.to_ascii_lowercase().as_str() {
                    "deploy" | "deployment" | "deployments" | "deployment.apps" | "deployments.apps" => "Deployment",
                    "sts" | "statefulset" | "statefulsets" | "statefulset.apps" | "statefulsets.apps" => "StatefulSet",
                    "rs" | "replicaset" | "replicasets" | "replicaset.apps" | "replicasets.apps" => "ReplicaSet",
                    _ => return Err(error()),
                };
                (apps(kind), name)
            }
            [group, version, kind, name] => (GroupVersionKind::gvk(group, version, kind), name),
            _ => return Err(error()),
        };
        Ok(Target { pool, resource: ApiResource::from_gvk(&kind), name: name.to_owned(), said: said.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named_as_kubectl_names_them() {
        let check = |text: &str, pool: Option<&str>, url: &str, name: &str| {
            let target: Target = text.parse().unwrap();
            let r = &target.resource;
            assert_eq!(format!("{}/{}", r.api_version, r.plural), url);
            assert_eq!((target.pool.as_deref(), target.name.as_str()), (pool, name));
        };
        check("deploy/triton", None, "apps/v1/deployments", "triton");
        check("gpu=Deployment/triton", Some("gpu"), "apps/v1/deployments", "triton");
        check("cpu=sts/t", Some("cpu"), "apps/v1/statefulsets", "t");
        check("argoproj.io/v1alpha1/Rollout/t", None, "argoproj.io/v1alpha1/rollouts", "t");
        for wrong in ["", "triton", "deploy/", "/triton", "=deploy/a", "pod/a", "a/b/c", "deploy/a/b/c/d"] {
            assert_eq!(wrong.parse::<Target>(), Err(ParseTargetError { found: wrong.into() }), "{wrong}");
        }
    }
}
