//! The managed copy: torch's wheel, and NVIDIA's wheels that it asks for, reduced to headers and libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use fs_err::File;

use crate::python;
use crate::search::{Flavor, State, VERSION, inspect};

/// What `libtorch_cpu.so` needs; it is the same file in both flavors, hence the two libraries of CUDA. `libtorch.so` is
/// an empty library that the linker wants to see and then leaves out.
const CPU_LIBRARIES: [&str; 6] =
    ["libc10.so", "libcudart.so.13", "libcupti.so.13", "libgomp.so.1", "libtorch.so", "libtorch_cpu.so"];

const ALL_LIBRARIES: [&str; 2] = ["*.so", "*.so.*"];

impl Flavor {
    fn name(self) -> &'static str {
        match self {
            Flavor::Cpu => "for CPU",
            Flavor::Cuda => "with CUDA",
        }
    }

    /// In GB: downloaded, kept, and needed while at work (pip holds a wheel twice for a moment).
    fn sizes(self) -> (f64, f64, f64) {
        match self {
            Flavor::Cpu => (0.55, 0.5, 2.0),
            Flavor::Cuda => (2.5, 3.9, 8.0),
        }
    }
}

/// Makes a libtorch folder inside `scratch`, and returns its path.
pub fn fetch(flavor: Flavor, scratch: &Path, lock: &File) -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is downloaded for Linux on x86-64 only.\n  What to do: set LIBTORCH to a libtorch {VERSION} of \
             your own, or LIBTORCH_USE_PYTORCH=1 in a Python environment with torch {VERSION}."
        );
    }
    python::require_pip()?;
    let (download, kept, at_work) = flavor.sizes();
    let free = free_gigabytes(scratch)?;
    if free < at_work {
        bail!("unpacking libtorch needs {at_work} GB for a while, and {} has {free:.1} GB free", scratch.display());
    }
    eprintln!(
        "Fetching libtorch {VERSION} {} with pip, once: {download} GB to download, {kept} GB kept in .medner/libtorch",
        flavor.name()
    );

    let libraries: &[&str] = match flavor {
        Flavor::Cpu => &CPU_LIBRARIES,
        Flavor::Cuda => &ALL_LIBRARIES,
    };
    let libtorch = scratch.join("libtorch");
    // torch itself comes alone: its other dependencies are for Python.
    unpack_all(&[format!("torch=={VERSION}")], false, libraries, &libtorch, scratch, lock)?;
    let metadata = fs::read_to_string(libtorch.join("METADATA"))?;
    let nvidia = nvidia_requirements(&metadata, flavor);
    if !nvidia.is_empty() {
        unpack_all(&nvidia, true, libraries, &libtorch, scratch, lock)?;
    }
    fs::remove_file(libtorch.join("METADATA"))?;
    // torch-sys reads this name.
    fs::write(libtorch.join("build-version"), format!("{VERSION}\n"))?;

    match inspect(&libtorch)?.state {
        State::Ready { cuda, .. } if cuda || flavor == Flavor::Cpu => Ok(libtorch),
        State::Ready { .. } => {
            bail!("the torch that pip brought has no CUDA: is pip configured to take packages from an index for CPU?")
        }
        other => bail!("the torch that pip brought is not as expected: {other:?}"),
    }
}

/// Downloads and unpacks; the wheels are gone afterwards.
fn unpack_all(
    requirements: &[String],
    with_dependencies: bool,
    libraries: &[&str],
    libtorch: &Path,
    scratch: &Path,
    lock: &File,
) -> Result<()> {
    let wheels = scratch.join("wheels");
    fs::create_dir(&wheels)?;
    python::download(requirements, with_dependencies, &wheels, lock)?;
    for entry in fs::read_dir(&wheels)? {
        let wheel = entry?.path();
        python::unpack(&wheel, libtorch, libraries, lock)?;
        fs::remove_file(wheel)?;
    }
    fs::remove_dir(wheels)?;
    Ok(())
}

/// The requirements of torch that are CUDA libraries, pinned as torch pins them.
///
/// For CPU these are two parts of the toolkit. A torch that was built without CUDA asks for none.
fn nvidia_requirements(metadata: &str, flavor: Flavor) -> Vec<String> {
    let requirements = metadata.lines().filter_map(|line| line.strip_prefix("Requires-Dist: "));
    match flavor {
        Flavor::Cuda => requirements
            .filter(|requirement| requirement.starts_with("nvidia-") || requirement.starts_with("cuda-toolkit"))
            .map(str::to_owned)
            .collect(),
        Flavor::Cpu => requirements
            .filter_map(|requirement| {
                let (_, version) = requirement.strip_prefix("cuda-toolkit[")?.split_once(']')?;
                Some(format!("cuda-toolkit[cudart,cupti]{version}"))
            })
            .collect(),
    }
}

/// What is free on the disk that holds a folder.
pub fn free_gigabytes(folder: &Path) -> Result<f64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().context("cannot run df")?;
    if !output.status.success() {
        bail!("df failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let kilobytes = free_kilobytes(&text).with_context(|| format!("df answered in a form of its own:\n{text}"))?;
    Ok(kilobytes as f64 * 1024.0 / 1e9)
}

/// The fourth column of the second line, as POSIX has it.
fn free_kilobytes(text: &str) -> Option<u64> {
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cuda_libraries_are_asked_for() {
        let metadata = "\
Name: torch
Requires-Dist: sympy>=1.13.3
Requires-Dist: cuda-toolkit[cublas,cudart,cupti]==13.0.2; platform_system == \"Linux\"
Requires-Dist: cuda-bindings<14,>=13.0.3; platform_system == \"Linux\"
Requires-Dist: nvidia-nccl-cu13==2.28.9; platform_system == \"Linux\"
";
        let cpu = ["cuda-toolkit[cudart,cupti]==13.0.2; platform_system == \"Linux\""];
        let cuda = [
            "cuda-toolkit[cublas,cudart,cupti]==13.0.2; platform_system == \"Linux\"",
            "nvidia-nccl-cu13==2.28.9; platform_system == \"Linux\"",
        ];
        assert_eq!(nvidia_requirements(metadata, Flavor::Cpu), cpu);
        assert_eq!(nvidia_requirements(metadata, Flavor::Cuda), cuda);
        assert!(nvidia_requirements("Requires-Dist: sympy>=1.13.3\n", Flavor::Cpu).is_empty());
    }

    #[test]
    fn df_is_understood() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 20 80 20% /\n";
        assert_eq!(free_kilobytes(text), Some(80));
    }
}
