//! What a file or a directory is, besides its name and what is in it: by that it is known whether somebody has
//! changed it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    file: (u64, u64),
    links: u64,
    length: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    mode: u32,
    owner: (u32, u32),
    /// The length of the list of its extended attributes; none where there cannot be any.
    attributes: usize,
}

impl Made {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let none: &mut [u8] = &mut [];
        let attributes = rustix::fs::flistxattr(file, none).unwrap_or(0);
        Ok(Self::new(&file.metadata()?, attributes))
    }

    /// Of a link, the link itself.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let none: &mut [u8] = &mut [];
        let attributes = rustix::fs::llistxattr(path, none).unwrap_or(0);
        Ok(Self::new(&fs::symlink_metadata(path)?, attributes))
    }

    fn new(it: &fs::Metadata, attributes: usize) -> Self {
        Made {
            file: (it.dev(), it.ino()),
            links: it.nlink(),
            length: it.len(),
            kind: Kind {
                mode: it.mode(),
                owner: (it.uid(), it.gid()),
                attributes,
            },
        }
    }

    /// Whether the two were made in the same way.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}
