// The viewer of a product: draws planes, and tells what lies under the pointer.
class Viewer {
  constructor(root) {
    this.root = root;
    this.meta = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    this.canvas = root.querySelector("canvas");
    this.part = (name) => root.querySelector(`[data-part='${name}']`);
    this.nx = this.meta.planes.SCI.nx;
    this.ny = this.meta.planes.SCI.ny;
    this.colour = "grey";
    this.stretch = "asinh";
    this.pointers = new Map();
    this.cursor = null;
  }

  async start() {
    const { planes } = this.meta;
    this.codes = {};
    this.values = {};
    await Promise.all(Object.keys(planes).map(async (name) => {
      this.codes[name] = await decoded(`${this.root.id}-${name}`, planes[name]);
      this.values[name] = reader(planes[name]);
    }));
    this.exact = await exactly(`${this.root.id}-exact`, planes.SCI.exact);
    this.picture = document.createElement("canvas");
    this.picture.width = this.nx;
    this.picture.height = this.ny;
    this.listen();
    this.plane = "SCI";
    this.setLimits("sky");
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    this.resize();
    this.fit();
    this.point((this.nx - 1) >> 1, (this.ny - 1) >> 1);
    this.part("busy").remove();
    this.root.dataset.ready = "yes";
  }

  // What a plane shows is a code, and a value for each code; the weight is that of the noise.
  source(plane) {
    const name = plane === "WEIGHT" ? "NOISE" : plane;
    const plain = this.values[name];
    if (plane !== "WEIGHT") return [this.codes[name], plain];
    const best = plain(1);
    return [this.codes[name], (c) => (c === 0 ? NaN : (best / plain(c)) ** 2)];
  }

  setLimits(how) {
    const [codes, value] = this.source(this.plane);
    const mask = this.codes.DQ;
    const sky = this.plane === "SCI";
    const sorted = sampled(codes, value, (n) => !sky || !mask || (mask[n] & 0x59) === 0);
    if (!sorted.length) { this.low = 0; this.high = 1; }
    else if (how === "sky") {
      const middle = at(sorted, 0.5);
      const spread = Float64Array.from(sorted, (v) => Math.abs(v - middle)).sort();
      const sigma = 1.4826 * at(spread, 0.5) || 1;
      [this.low, this.high] = [middle - 2 * sigma, middle + 40 * sigma];
    } else if (how === "zscale") [this.low, this.high] = zscale(sorted);
    else if (how === "99.5 %") [this.low, this.high] = [at(sorted, 0.0025), at(sorted, 0.9975)];
    else if (how === "all") [this.low, this.high] = [sorted[0], sorted[sorted.length - 1]];
    if (!(this.high > this.low)) this.high = this.low + (Math.abs(this.low) * 0.01 || 1);
    this.part("low").value = number(this.low);
    this.part("high").value = number(this.high);
    this.part("limits").value = how;
    this.paint();
  }

  palette() {
    const stops = STOPS[this.colour];
    return (t) => {
      const place = t * (stops.length - 1);
      const n = Math.min(stops.length - 2, Math.floor(place));
      const [a, b] = [stops[n], stops[n + 1]];
      return a.map((v, i) => Math.round(v + (b[i] - v) * (place - n)));
    };
  }

  paint() {
    const [codes, value] = this.source(this.plane);
    const lut = new Uint32Array(65536);
    const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
    const bits = this.plane === "DQ";
    const palette = this.palette();
    const steps = Array.from({ length: 256 }, (_, n) => packed(palette(n / 255)));
    const bend = STRETCHES[this.stretch];
    const none = packed([28, 34, 66]);
    for (let n = 0; n < 65536; n += 1) {
      const code = codes instanceof Int16Array ? (n << 16) >> 16 : n;
      if (bits) {
        const won = BIT_COLOURS.find(([bit]) => code & bit);
        lut[n] = packed(code === 0 ? [250, 250, 250] : won ? won[1] : [0, 0, 0]);
        continue;
      }
      const v = value(code);
      const t = Math.min(1, Math.max(0, (v - this.low) / (this.high - this.low)));
      lut[n] = Number.isFinite(v) ? steps[Math.round(255 * bend(t))] : none;
    }
    const context = this.picture.getContext("2d");
    const image = context.createImageData(this.nx, this.ny);
    const out = new Uint32Array(image.data.buffer);
    for (let y = 0; y < this.ny; y += 1) {
      const from = y * this.nx;
      const to = (this.ny - 1 - y) * this.nx;
      for (let x = 0; x < this.nx; x += 1) out[to + x] = lut[codes[from + x] & 0xffff];
    }
    context.putImageData(image, 0, 0);
    this.bar(palette, bend, bits);
    this.draw();
  }

  bar(palette, bend, bits) {
    const legend = this.part("legend");
    legend.hidden = !bits;
    this.part("scale").hidden = bits;
    for (const name of ["stretch", "limits", "colour", "low", "high"]) {
      this.part(name).disabled = bits;
    }
    if (bits) return;
    const bar = this.part("bar");
    bar.width = 256;
    bar.height = 1;
    const context = bar.getContext("2d");
    const image = context.createImageData(256, 1);
    for (let n = 0; n < 256; n += 1) image.data.set([...palette(bend(n / 255)), 255], 4 * n);
    context.putImageData(image, 0, 0);
    this.part("bar-low").textContent = number(this.low, 4);
    this.part("bar-middle").textContent = number((this.low + this.high) / 2, 4);
    this.part("bar-high").textContent = `${number(this.high, 4)} ${this.unit()}`;
  }

  unit() {
    return { SCI: this.meta.unit, NOISE: this.meta.unit, COVERAGE: "exposures" }[this.plane] || "";
  }

  // view ------------------------------------------------------------------------------------
  resize() {
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    const wide = Math.max(1, Math.round(box.width * ratio));
    const high = Math.max(1, Math.round(box.height * ratio));
    if (this.canvas.width === wide && this.canvas.height === high) return;
    const whole = this.fitted;
    this.canvas.width = wide;
    this.canvas.height = high;
    this.ratio = ratio;
    if (whole || !this.zoom) this.fit();
    else this.draw();
  }

  fit() {
    const { width, height } = this.canvas;
    this.zoom = Math.min(width / this.nx, height / this.ny);
    this.left = (width - this.nx * this.zoom) / 2;
    this.top = (height - this.ny * this.zoom) / 2;
    this.fitted = true;
    this.draw();
  }

  // Place on the canvas of a pixel's centre, y up, and back.
  place(x, y) {
    return [this.left + (x + 0.5) * this.zoom, this.top + (this.ny - 0.5 - y) * this.zoom];
  }

  pixel(px, py) {
    return [(px - this.left) / this.zoom - 0.5, this.ny - 0.5 - (py - this.top) / this.zoom];
  }

  zoomAt(px, py, factor) {
    const smallest = 0.5 * Math.min(this.canvas.width / this.nx, this.canvas.height / this.ny);
    const zoom = Math.min(64, Math.max(smallest, this.zoom * factor));
    this.left = px - ((px - this.left) * zoom) / this.zoom;
    this.top = py - ((py - this.top) * zoom) / this.zoom;
    this.zoom = zoom;
    this.fitted = false;
    this.draw();
  }

  draw() {
    if (!this.zoom || !this.picture) return;
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.fillStyle = "#10131f";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = this.zoom < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      this.picture, this.left, this.top, this.nx * this.zoom, this.ny * this.zoom,
    );
    this.compass(context);
    if (this.cursor) this.cross(context);
    this.canvas.dataset.view = [this.zoom, this.left, this.top, this.ratio].join(" ");
  }

  line(context, points, text) {
    for (const [style, thick] of [["#000", 4], ["#fff", 1.6]]) {
      context.strokeStyle = style;
      context.lineWidth = thick * this.ratio;
      context.beginPath();
      points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.stroke();
    }
    if (!text) return;
    const [told, x, y] = text;
    context.font = `600 ${13 * this.ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3 * this.ratio;
    context.strokeStyle = "#000";
    context.strokeText(told, x, y);
    context.fillStyle = "#fff";
    context.fillText(told, x, y);
  }

  compass(context) {
    const { wcs, block } = this.meta;
    if (!wcs) return;
    const r = this.ratio;
    const [x0, y0] = [this.canvas.width - 52 * r, 58 * r];
    const [cx, cy] = wcs.crpix;
    const [ra, dec] = toSky(wcs, cx - 1, cy - 1);
    const ends = {
      N: toPixel(wcs, ra, Math.min(90, dec + 0.002)),
      E: toPixel(wcs, ra + 0.002 / Math.max(0.01, Math.cos((dec * Math.PI) / 180)), dec),
    };
    for (const [name, end] of Object.entries(ends)) {
      if (!end) continue;
      const [dx, dy] = [end[0] - cx + 1, -(end[1] - cy + 1)];
      const norm = Math.hypot(dx, dy) || 1;
      const [ux, uy] = [dx / norm, dy / norm];
      const tip = [x0 + 28 * r * ux, y0 + 28 * r * uy];
      const text = [name, x0 + 39 * r * ux, y0 + 39 * r * uy];
      this.line(context, [[x0, y0], tip], text);
    }
    const pixel = 3600 * Math.sqrt(Math.abs(
      wcs.cd[0][0] * wcs.cd[1][1] - wcs.cd[0][1] * wcs.cd[1][0])) * block;
    const lengths = [0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600];
    const room = 0.3 * this.canvas.width;
    const length = lengths.filter((s) => (s / pixel) * this.zoom < room).pop() || lengths[0];
    const long = (length / pixel) * this.zoom;
    const [x, y] = [18 * r, this.canvas.height - 18 * r];
    const told = length < 60 ? `${length}\u2033` : `${length / 60}\u2032`;
    this.line(context, [[x, y], [x + long, y]], [told, x + long / 2, y - 13 * r]);
  }

  cross(context) {
    const [x, y] = this.place(...this.cursor);
    const half = Math.max(this.zoom / 2, 3 * this.ratio);
    const arm = half + 9 * this.ratio;
    for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      this.line(context, [[x + a * half, y + b * half], [x + a * arm, y + b * arm]]);
    }
  }

  // what lies there -------------------------------------------------------------------------
  point(x, y) {
    const column = Math.round(x);
    const row = Math.round(y);
    if (!(column >= 0 && row >= 0 && column < this.nx && row < this.ny)) return;
    this.cursor = [column, row];
    const { block, unit, wcs, nx, ny, meanings } = this.meta;
    const index = row * this.nx + column;
    const value = (name) => (this.codes[name] ? this.values[name](this.codes[name][index]) : NaN);
    const tell = (name, told) => { this.part(name).textContent = told; };
    const last = (n, most) => Math.min(n * block + block, most);
    if (block === 1) tell("pixel", `${column + 1}, ${row + 1}`);
    else {
      tell("pixel", `${column * block + 1}\u2013${last(column, nx)}, `
        + `${row * block + 1}\u2013${last(row, ny)}`);
    }
    const [sci, noise] = [this.exact(index) ?? value("SCI"), value("NOISE")];
    tell("sci", `${number(sci, 6)} ${Number.isFinite(sci) ? unit : ""}`.trim());
    if (this.codes.NOISE) {
      tell("noise", `${number(noise, 4)} ${Number.isFinite(noise) ? unit : ""}`.trim());
      tell("ratio", number(sci / noise, 3));
    }
    if (this.codes.COVERAGE) tell("coverage", String(value("COVERAGE")));
    if (this.codes.DQ) tell("dq", words(value("DQ"), meanings));
    if (wcs) {
      const centre = (n, most) => (n * block + last(n, most) - 1) / 2;
      const [ra, dec] = toSky(wcs, centre(column, nx), centre(row, ny));
      const sign = dec < 0 ? "\u2212" : "+";
      tell("radec", `${sexagesimal(ra / 15, 4)}  ${sign}${sexagesimal(dec, 3)}`);
      tell("degrees", `${ra.toFixed(7)}\u00b0  ${dec.toFixed(7).replace("-", "\u2212")}\u00b0`);
    }
    this.draw();
  }

  reveal() {
    const [x, y] = this.place(...this.cursor);
    const { width, height } = this.canvas;
    if (x > 0 && y > 0 && x < width && y < height) return;
    this.left += width / 2 - x;
    this.top += height / 2 - y;
    this.fitted = false;
    this.draw();
  }

  go(text) {
    const field = this.part("go");
    const found = this.target(text);
    field.setCustomValidity(found ? "" : "x, y in pixels from 1, or RA Dec");
    field.setAttribute("aria-invalid", String(!found));
    if (!found) { field.reportValidity(); return; }
    this.point(...found);
    this.reveal();
  }

  target(text) {
    const { wcs, block, nx, ny } = this.meta;
    const parts = text.trim().split(/\s*,\s*|\s+/);
    if (parts.length !== 2) return null;
    let [x, y] = [Number(parts[0]) - 1, Number(parts[1]) - 1];
    if (text.includes(":") && wcs) {
      const [ra, dec] = [parsed(parts[0], 15), parsed(parts[1], 1)];
      const found = toPixel(wcs, ra, dec);
      if (!found) return null;
      [x, y] = found;
    }
    if (!(x > -0.5 && y > -0.5 && x < nx - 0.5 && y < ny - 0.5)) return null;
    return [Math.floor(Math.round(x) / block), Math.floor(Math.round(y) / block)];
  }

  // controls --------------------------------------------------------------------------------
  listen() {
    const { canvas } = this;
    const on = (name, event, act) => this.part(name).addEventListener(event, act);
    on("plane", "change", (event) => {
      this.plane = event.target.value;
      this.stretch = this.plane === "SCI" ? "asinh" : "linear";
      this.part("stretch").value = this.stretch;
      this.setLimits(this.plane === "SCI" ? "sky" : "99.5 %");
    });
    on("stretch", "change", (event) => { this.stretch = event.target.value; this.paint(); });
    on("colour", "change", (event) => { this.colour = event.target.value; this.paint(); });
    on("limits", "change", (event) => {
      if (event.target.value !== "own") this.setLimits(event.target.value);
    });
    for (const name of ["low", "high"]) {
      on(name, "change", () => {
        const [low, high] = [Number(this.part("low").value), Number(this.part("high").value)];
        const good = Number.isFinite(low) && Number.isFinite(high) && low < high;
        this.part(name).setAttribute("aria-invalid", String(!good));
        if (!good) return;
        [this.low, this.high] = [low, high];
        this.part("limits").value = "own";
        this.paint();
      });
    }
    on("form", "submit", (event) => { event.preventDefault(); this.go(this.part("go").value); });
    on("go", "input", (event) => event.target.setCustomValidity(""));
    const middle = () => [canvas.width / 2, canvas.height / 2];
    on("in", "click", () => this.zoomAt(...middle(), 1.5));
    on("out", "click", () => this.zoomAt(...middle(), 1 / 1.5));
    on("fit", "click", () => this.fit());
    on("one", "click", () => this.zoomAt(...middle(), this.ratio / this.zoom));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("wheel", (event) => {
      if (!(event.ctrlKey || document.activeElement === canvas)) return; // the page scrolls
      event.preventDefault();
      this.zoomAt(...this.where(event), Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", (event) => this.zoomAt(...this.where(event), 2));
  }

  where(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  down(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.where(event));
    this.point(...this.pixel(...this.where(event)));
  }

  move(event) {
    const now = this.where(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.point(...this.pixel(...now));
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const [, [ox, oy]] = others[0];
      const apart = ([x, y]) => Math.hypot(x - ox, y - oy) || 1;
      this.zoomAt((now[0] + ox) / 2, (now[1] + oy) / 2, apart(now) / apart(before));
    }
    const share = others.length ? 0.5 : 1;
    this.left += share * (now[0] - before[0]);
    this.top += share * (now[1] - before[1]);
    this.fitted = false;
    this.pointers.set(event.pointerId, now);
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const place = () => this.place(...this.cursor);
    if (steps[event.key]) {
      const size = event.shiftKey ? 10 : 1;
      const [dx, dy] = steps[event.key];
      this.point(this.cursor[0] + size * dx, this.cursor[1] + size * dy);
      this.reveal();
    } else if (event.key === "+" || event.key === "=") this.zoomAt(...place(), 1.5);
    else if (event.key === "-") this.zoomAt(...place(), 1 / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.zoomAt(...place(), this.ratio / this.zoom);
    else return;
    event.preventDefault();
  }
}

function failed(root, error) {
  const told = root.querySelector("[data-part='busy']") || root;
  told.textContent = `The image cannot be shown by this browser: ${error.message}`;
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    new Viewer(entry.target).start().catch((error) => failed(entry.target, error));
  }
}, { rootMargin: "600px" });
document.querySelectorAll(".viewer").forEach((root) => watcher.observe(root));
