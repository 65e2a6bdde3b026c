//! Lets the tests of this package find libtorch where they were linked against it, without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // torch-sys has `links = "tch"`, so cargo passes on what its build script found out. Only direct dependents get it.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names the library folder of libtorch");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
