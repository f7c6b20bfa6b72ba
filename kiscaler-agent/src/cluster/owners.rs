//! Who else scales a target.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::DynamicObject;

use crate::api::ScaleTargetRef;

/// What another autoscaler scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The target's group, without version; empty where it was not said.
    group: String,
    kind: String,
    name: String,
}

impl Owned {
    /// A target by what a reference says of it.
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        Owned { group: group(api_version).to_owned(), kind: kind.to_owned(), name: name.to_owned() }
    }

    /// Whether that is the target of `reference`.
    pub fn is(&self, reference: &ScaleTargetRef) -> bool {
        self.kind == reference.kind && self.name == reference.name && self.group == group(&reference.api_version)
    }
}

fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// What a HorizontalPodAutoscaler scales.
pub fn hpa_owns(hpa: &HorizontalPodAutoscaler) -> Option<Owned> {
    let target = &hpa.spec.scale_target_ref;
    Some(Owned::new(target.api_version.as_deref().unwrap_or_default(), &target.kind, &target.name))
}

/// What a ScaledObject scales: a Deployment where it does not say.
pub fn scaled_object_owns(object: &DynamicObject) -> Option<Owned> {
    let target = object.data.pointer("/spec/scaleTargetRef")?;
    let field =
        |name: &str, default: &'static str| target.get(name).and_then(|v| v.as_str()).unwrap_or(default).to_owned();
    Some(Owned::new(&field("apiVersion", "apps/v1"), &field("kind", "Deployment"), &field("name", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_compared_by_group_kind_and_name() {
        let target = ScaleTargetRef { api_version: "apps/v1".into(), kind: "Deployment".into(), name: "triton".into() };
        assert!(Owned::new("apps/v1", "Deployment", "triton").is(&target));
        assert!(Owned::new("apps/v1beta2", "Deployment", "triton").is(&target));
        assert!(!Owned::new("apps/v1", "StatefulSet", "triton").is(&target));
        assert!(!Owned::new("other.io/v1", "Deployment", "triton").is(&target));
        let json = serde_json::json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "s"},
            "spec": {"scaleTargetRef": {"name": "triton"}},
        });
        let object: DynamicObject = serde_json::from_value(json).unwrap();
        assert!(scaled_object_owns(&object).is_some_and(|owned| owned.is(&target)));
    }
}
