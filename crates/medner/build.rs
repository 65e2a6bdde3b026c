//! Lets the program find libtorch without LD_LIBRARY_PATH: beside itself once it is deployed, else where it was linked
//! against it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // What `cargo xtask dist` makes comes first, so that it can be tried on this machine, too.
    let is_macos = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos");
    let origin = if is_macos { "@loader_path" } else { "$ORIGIN" };
    // The last one is where pip puts the libraries, beside the package with the program.
    for beside in ["lib", "../lib", "../../medner_libtorch/lib"] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{origin}/{beside}");
    }
    // torch-sys has `links = "tch"`, so cargo passes on what its build script found out. Only direct dependents get it.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names the library folder of libtorch");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
