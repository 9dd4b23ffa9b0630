// Planes out of the page, positions on the sky, numbers as text.
const STOPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  "grey, inverted": [[255, 255, 255], [0, 0, 0]],
  cividis: [
    [0, 32, 77], [0, 60, 110], [60, 77, 110], [96, 94, 115], [124, 123, 120], [155, 143, 119],
    [188, 167, 109], [222, 193, 88], [255, 234, 70],
  ],
  viridis: [
    [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129],
    [92, 200, 99], [170, 220, 50], [253, 231, 37],
  ],
};
// Okabe and Ito's colours, in the order in which they win where a pixel has several bits.
const BIT_COLOURS = [
  [16, [120, 120, 120]], [64, [86, 86, 120]], [1, [213, 94, 0]], [8, [240, 228, 66]],
  [4, [0, 158, 115]], [2, [86, 180, 233]], [32, [204, 121, 167]],
];
const STRETCHES = {
  asinh: (t) => Math.asinh(20 * t) / Math.asinh(20),
  linear: (t) => t,
  "square root": Math.sqrt,
  logarithm: (t) => Math.log1p(1000 * t) / Math.log1p(1000),
};
const NO_VALUE = -32768;

async function unpacked(id) {
  const holder = document.getElementById(id);
  const text = atob(holder.textContent);
  holder.textContent = "";
  const bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n += 1) bytes[n] = text.charCodeAt(n);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function decoded(id, meta) {
  const raw = await unpacked(id);
  const size = meta.nx * meta.ny;
  const codes = meta.type === "int16" ? new Int16Array(size) : new Uint16Array(size);
  for (let n = 0; n < size; n += 1) codes[n] = raw[n] | (raw[n + size] << 8);
  return codes;
}

// Values kept as they are: a function of the pixel's number; undefined for those that are coded.
async function exactly(id, count) {
  const raw = await unpacked(id);
  const bytes = new Uint8Array(8 * count);
  for (let part = 0; part < 8; part += 1) {
    const to = part < 4 ? part : 4 * count + part - 4;
    for (let n = 0; n < count; n += 1) bytes[to + 4 * n] = raw[part * count + n];
  }
  const places = new Uint32Array(bytes.buffer, 0, count);
  const values = new Float32Array(bytes.buffer, 4 * count, count);
  return (place) => {
    let [low, high] = [0, count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[middle] < place) low = middle + 1;
      else high = middle;
    }
    return places[low] === place ? values[low] : undefined;
  };
}

// Code -> value; NaN where there is none.
function reader(meta) {
  if (meta.code === "asinh") {
    const unit = meta.step * meta.soft;
    return (c) => (c === NO_VALUE ? NaN : meta.middle + unit * Math.sinh(c / meta.soft));
  }
  if (meta.code === "log") {
    return (c) => (c === 0 ? NaN : Math.exp(meta.low + (c - 1) * meta.step));
  }
  return (c) => c;
}

function words(bits, meanings) {
  if (bits === 0) return "good";
  const known = meanings.filter(([bit]) => bits & bit).map(([bit, told]) => `${bit} ${told}`);
  return known.length ? known.join("; ") : `undefined bits ${bits}`;
}

// Pixel (from 0) -> degrees, by the gnomonic projection.
function toSky(wcs, x, y) {
  const rad = Math.PI / 180;
  const u = x + 1 - wcs.crpix[0];
  const v = y + 1 - wcs.crpix[1];
  const xi = (wcs.cd[0][0] * u + wcs.cd[0][1] * v) * rad;
  const eta = (wcs.cd[1][0] * u + wcs.cd[1][1] * v) * rad;
  const d0 = wcs.crval[1] * rad;
  const down = Math.cos(d0) - eta * Math.sin(d0);
  const ra = wcs.crval[0] + Math.atan2(xi, down) / rad;
  const dec = Math.atan2(Math.sin(d0) + eta * Math.cos(d0), Math.hypot(xi, down)) / rad;
  return [((ra % 360) + 360) % 360, dec];
}

function toPixel(wcs, ra, dec) {
  const rad = Math.PI / 180;
  const a = (ra - wcs.crval[0]) * rad;
  const d = dec * rad;
  const d0 = wcs.crval[1] * rad;
  const below = Math.sin(d) * Math.sin(d0) + Math.cos(d) * Math.cos(d0) * Math.cos(a);
  if (below <= 0) return null;
  const xi = (Math.cos(d) * Math.sin(a)) / below / rad;
  const up = Math.sin(d) * Math.cos(d0) - Math.cos(d) * Math.sin(d0) * Math.cos(a);
  const eta = up / below / rad;
  const [[p, q], [r, s]] = wcs.cd;
  const det = p * s - q * r;
  return [
    (s * xi - q * eta) / det + wcs.crpix[0] - 1, (p * eta - r * xi) / det + wcs.crpix[1] - 1,
  ];
}

function sexagesimal(value, decimals) {
  const ten = 10 ** decimals;
  const all = Math.round(Math.abs(value) * 3600 * ten);
  const pad = (n, width) => String(n).padStart(width, "0");
  const seconds = all % (60 * ten);
  const minutes = Math.floor(all / (60 * ten));
  const tail = `${pad(Math.floor(seconds / ten), 2)}.${pad(seconds % ten, decimals)}`;
  return `${pad(Math.floor(minutes / 60), 2)}:${pad(minutes % 60, 2)}:${tail}`;
}

function parsed(text, factor) {
  const found = text.trim().replace("\u2212", "-").match(/^([+-]?)(\d+)(?:[:\s](\d+)[:\s](\d+(?:\.\d*)?))?(\.\d*)?$/);
  if (!found) return NaN;
  if (found[3] === undefined) return Number(found[0]);
  const size = Number(found[2]) + Number(found[3]) / 60 + Number(found[4]) / 3600;
  return (found[1] === "-" ? -1 : 1) * size * factor;
}

function number(value, digits = 5) {
  if (!Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  if (size >= 1e7 || (size < 1e-4 && size > 0)) return value.toExponential(digits - 1);
  const whole = size < 1 ? 0 : Math.floor(Math.log10(size)) + 1;
  return value.toFixed(Math.max(0, Math.min(6, digits - whole)));
}

function sampled(codes, value, keep) {
  const step = Math.max(1, Math.floor(codes.length / 40000)) | 1;
  const found = [];
  for (let n = step >> 1; n < codes.length; n += step) {
    const v = value(codes[n]);
    if (Number.isFinite(v) && keep(n)) found.push(v);
  }
  return Float64Array.from(found).sort();
}

const at = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

// IRAF's zscale: the slope of the sorted values, outliers left out, with contrast 1/4.
function zscale(sorted) {
  const count = Math.min(1000, sorted.length);
  const y = Array.from({ length: count }, (_, n) => at(sorted, n / Math.max(1, count - 1)));
  const middle = (count - 1) / 2;
  let kept = y.map(() => true);
  let slope = 0;
  let level = at(sorted, 0.5);
  for (let round = 0; round < 5; round += 1) {
    let n = 0; let sx = 0; let sy = 0; let sxx = 0; let sxy = 0;
    y.forEach((v, k) => {
      if (!kept[k]) return;
      const x = k - middle;
      n += 1; sx += x; sy += v; sxx += x * x; sxy += x * v;
    });
    const det = n * sxx - sx * sx;
    if (n < count / 2 || det === 0) break;
    slope = (n * sxy - sx * sy) / det;
    level = (sy - slope * sx) / n;
    let square = 0;
    y.forEach((v, k) => { if (kept[k]) square += (v - level - slope * (k - middle)) ** 2; });
    const limit = 2.5 * Math.sqrt(square / n);
    kept = y.map((v, k) => Math.abs(v - level - slope * (k - middle)) <= limit);
  }
  const half = at(sorted, 0.5);
  const reach = (slope / 0.25) * middle;
  return [Math.max(sorted[0], half - reach), Math.min(sorted[sorted.length - 1], half + reach)];
}
