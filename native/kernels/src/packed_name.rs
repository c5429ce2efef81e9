//! Names of packed forms, for files that keep them: `Q4_1`, or `nibbles/4/zeros/order` for codes beside scales of groups
//! (blocks of 32 that share a scale; a dash where there are no zero points, or no other order of inputs).

use crate::format::Format;
use crate::grouped::{Codes, Grouped};
use crate::packed_linear::PackedShape;

const CODES: [(Codes, &str); 4] = [
    (Codes::Nibbles, "nibbles"),
    (Codes::Bytes, "bytes"),
    (Codes::Float8, "float8"),
    (Codes::Table, "table"),
];

impl PackedShape {
    pub fn name(&self) -> String {
        let Some(grouped) = self.grouped else {
            return self.format.name().to_owned();
        };
        let codes = CODES.iter().find(|(codes, _)| *codes == grouped.codes);
        format!(
            "{}/{}/{}/{}",
            codes.map_or("", |(_, name)| name),
            grouped.blocks_per_scale,
            if grouped.has_zeros { "zeros" } else { "-" },
            if grouped.has_order { "order" } else { "-" },
        )
    }

    /// What `name` named; `None` for any other text.
    pub fn parse(name: &str, rows: usize) -> Option<Self> {
        let flag = |text: &str, yes: &str| match text {
            "-" => Some(false),
            _ if text == yes => Some(true),
            _ => None,
        };
        let fields: Vec<_> = name.split('/').collect();
        let (format, grouped) = match fields[..] {
            [format] => (Format::parse(format)?, None),
            [codes, blocks, zeros, order] => {
                let grouped = Grouped {
                    codes: CODES.iter().find(|(_, known)| *known == codes)?.0,
                    blocks_per_scale: blocks.parse().ok().filter(|&blocks| blocks > 0)?,
                    has_zeros: flag(zeros, "zeros")?,
                    has_order: flag(order, "order")?,
                };
                (Format::F32, Some(grouped))
            }
            _ => return None,
        };
        Some(Self {
            format,
            grouped,
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_name_that_means_it_alone() {
        let mut shapes: Vec<_> = Format::ALL.map(|format| (format, None)).into();
        for (codes, _) in CODES {
            for flags in 0..4 {
                let grouped = Grouped {
                    codes,
                    blocks_per_scale: 4,
                    has_zeros: flags & 1 == 1,
                    has_order: flags & 2 == 2,
                };
                shapes.push((Format::F32, Some(grouped)));
            }
        }
        for (format, grouped) in shapes {
            let shape = PackedShape {
                format,
                grouped,
                rows: 7,
            };
            assert_eq!(PackedShape::parse(&shape.name(), 7), Some(shape));
        }
        for name in [
            "",
            "Q9",
            "nibbles/0/-/-",
            "nibbles/4/-",
            "bits/4/-/-",
            "nibbles/4/x/-",
        ] {
            assert_eq!(PackedShape::parse(name, 7), None, "{name}");
        }
    }
}
