#!/usr/bin/env bash
# The deep-imaging tutorial, typed as a user would, on a simulated night.
# usage: bash benchmarks/demo.sh FOLDER [SCENARIO]     (needs f2yaml on the PATH)
set -euo pipefail
folder=${1:-demo} scenario=${2:-tutorial}
mkdir -p "$folder"
cd "$folder"

say() { printf '\n$ %s\n' "$*"; eval "$*"; }

begun=$SECONDS
[ -f raw/truth.json ] || say "f2yaml simulate $scenario --out raw"

say "f2yaml typewalk -d raw -n --tags RAW | tail -n 8"
say "f2yaml caldb init"
say "f2yaml dataselect --tags DARK 'raw/*.fits' | f2yaml showd -d exposure_time"
say "f2yaml dataselect --tags DARK --expr 'exposure_time==5' 'raw/*.fits' -o darks_5s.list"
say "f2yaml dataselect --tags DARK --expr 'exposure_time==2' 'raw/*.fits' -o darks_2s.list"
say "f2yaml dataselect --tags FLAT --expr \"filter_name=='K-red'\" 'raw/*.fits' -o flats_Kred.list"
say "f2yaml dataselect --xtags CAL 'raw/*.fits' -o sci_images.list"
say "f2yaml run checkWCS --inputs @sci_images.list"
say "f2yaml run --inputs @darks_5s.list"
say "f2yaml run --inputs @flats_Kred.list @darks_2s.list"
say "f2yaml run ultradeep_part1 --inputs @sci_images.list --outdir parts"
say "f2yaml run ultradeep_part2 --inputs 'parts/*_flatCorrected.fits' --outdir parts"
say "f2yaml run ultradeep_part3 --inputs 'parts/*_objmaskTransferred.fits' --outdir parts"
say "f2yaml run ultradeep --inputs @sci_images.list"

image=$(basename "$(head -n 20 sci_images.list | grep -v '^#' | head -n 1)" .fits)_image.fits
say "f2yaml preview $image"
printf '\n'
python - "$image" "parts/$image" <<'PYTHON'
"""Compare the one-shot image with that of the three parts, and list what was made."""
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

with fits.open(sys.argv[1]) as one, fits.open(sys.argv[2]) as parts:
    same = all(np.array_equal(one[n].data, parts[n].data) for n in ("SCI", "VAR", "DQ"))
    sci, var, dq = one["SCI"], one["VAR"].data, one["DQ"].data
    print(f"one run and three parts give the same pixels: {'yes' if same else 'NO'}")
    print(f"{'product':44s} {'size':>9s}")
    products = [*sorted(Path("calibrations").rglob("*.fits")), Path(sys.argv[1])]
    products.append(Path(sys.argv[1]).with_suffix(".png"))
    for path in products:
        print(f"{path!s:44s} {path.stat().st_size / 1e6:6.1f} MB")
    good = dq == 0
    print(
        f"image: {sci.shape[1]} x {sci.shape[0]} pix, BUNIT {sci.header['BUNIT']}, "
        f"{one[0].header['NCOMBINE']} frames, {one[0].header['TEXPTIME']:g} s, "
        f"noise {np.sqrt(np.median(var[good])):.2f} electron/pix"
    )
sys.exit(0 if same else 1)
PYTHON
echo "demo done in $((SECONDS - begun)) s; look at $folder/${image%.fits}.png"
