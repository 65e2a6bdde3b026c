//! Lets this package's tests find the libtorch that they are linked against, without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // torch-sys has `links = "tch"`, so cargo passes the results of its build script to direct dependents, and only to
    // them.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names the library folder of libtorch");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
