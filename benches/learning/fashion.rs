//! Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): 60,000 and 10,000 images of 28 × 28 pixels in ten
//! classes, as IDX files.

use std::path::PathBuf;
use std::process::Command;

use crate::scenario::Sample;

/// Pixels along one side.
pub const SIDE: usize = 28;
/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;
/// Where Debian's package puts the files.
const DEBIAN_DIR: &str = "/usr/share/datasets/fashion-mnist";
/// Names the directory where it is another one.
const DIR_VARIABLE: &str = "FASHION_MNIST_DIR";

/// Both parts.
pub struct Fashion {
    /// To learn from.
    pub train: Images,
    /// Never posted.
    pub test: Images,
}

/// Images with their labels.
pub struct Images {
    pixels: Vec<u8>,
    /// 0 to 9.
    pub labels: Vec<u8>,
}

impl Fashion {
    /// Reads the files.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn read() -> Result<Self, String> {
        let dir = std::env::var_os(DIR_VARIABLE).map_or_else(|| DEBIAN_DIR.into(), PathBuf::from);
        let images = |part: &str| {
            let pixels = unpack(dir.join(format!("{part}-images-idx3-ubyte.gz")), 16)?;
            let labels = unpack(dir.join(format!("{part}-labels-idx1-ubyte.gz")), 8)?;
            match pixels.len() == PIXELS * labels.len() {
                true => Ok(Images { pixels, labels }),
                false => {
                    Err(format!("{part}: {} labels for {} pixels", labels.len(), pixels.len()))
                }
            }
        };
        let both = images("train").and_then(|train| Ok(Self { train, test: images("t10k")? }));
        both.map_err(|why| {
            format!(
                "{why} (Fashion-MNIST: apt-get install dataset-fashion-mnist, or name the \
                 directory of its four files in {DIR_VARIABLE})"
            )
        })
    }
}

/// The bytes of a gzipped IDX file after its header.
fn unpack(file: PathBuf, header: usize) -> Result<Vec<u8>, String> {
    let failed = |why: String| format!("{}: {why}", file.display());
    let output = Command::new("gzip").arg("-dc").arg(&file).output();
    let output = output.map_err(|error| failed(format!("gzip: {error}")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    output.stdout.get(header..).map(<[u8]>::to_vec).ok_or_else(|| failed("too short".to_owned()))
}

impl Images {
    /// The pixels of image `index`, row by row.
    pub fn pixels(&self, index: usize) -> &[u8] {
        &self.pixels[index * PIXELS..][..PIXELS]
    }

    /// Image `index` as a sample.
    pub fn sample(&self, index: usize) -> Sample {
        sample(self.pixels(index), self.labels[index])
    }
}

/// An image as a sample: an array of whole numbers.
pub fn sample(pixels: &[u8], label: u8) -> Sample {
    let mut input = String::with_capacity(4 * pixels.len() + 2);
    for &pixel in pixels {
        input.push(if input.is_empty() { '[' } else { ',' });
        // Much of an image is black, and formatting a number is what takes long here.
        match pixel {
            0 => input.push('0'),
            _ => input.push_str(&pixel.to_string()),
        }
    }
    input.push(']');
    Sample { input, label: label.to_string() }
}
