//! Seals objects so that only chosen members can open them: segments, manifests, key wrapping, key stores.
