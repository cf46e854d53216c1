// QR codes (ISO/IEC 18004), made here so that no secret goes anywhere to be drawn: bytes, error correction M, versions
// 1 to 12, which is more than an otpauth address needs.

const SVG = "http://www.w3.org/2000/svg";
// By version: bytes of correction a block, then blocks and data bytes of each, twice where they differ by one.
const BLOCKS = [
  [10, 1, 16], [16, 1, 28], [26, 1, 44], [18, 2, 32], [24, 2, 43], [16, 4, 27], [18, 4, 31], [22, 2, 38, 2, 39],
  [22, 3, 36, 2, 37], [26, 4, 43, 1, 44], [30, 1, 50, 4, 51], [22, 6, 36, 2, 37],
];
const ALIGNED = [[], [18], [22], [26], [30], [34], [22, 38], [24, 42], [26, 46], [28, 50], [30, 54], [32, 58]];
const MASKS = [
  (x, y) => (x + y) % 2, (x, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2, (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

// Arithmetic of GF(256) with the polynomial 0x11d.
const POWERS = [];
for (let power = 1, n = 0; n < 255; n += 1) {
  POWERS.push(power);
  power = power < 128 ? power * 2 : (power * 2) ^ 0x11d;
}
const product = (a, b) => (a && b ? POWERS[(POWERS.indexOf(a) + POWERS.indexOf(b)) % 255] : 0);

function generator(degree) {
  let found = [1];
  for (let n = 0; n < degree; n += 1) {
    const next = [...found, 0];
    found.forEach((value, at) => {
      next[at + 1] ^= product(value, POWERS[n]);
    });
    found = next;
  }
  return found.slice(1);
}

function correction(data, degree) {
  const divisor = generator(degree);
  const rest = new Array(degree).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    divisor.forEach((value, at) => {
      rest[at] ^= product(value, factor);
    });
  }
  return rest;
}

/** The sizes of the data blocks of a version. */
function sizes([, count, size, more = 0, larger = 0]) {
  return [...new Array(count).fill(size), ...new Array(more).fill(larger)];
}

function codewords(bytes, version) {
  const blocks = sizes(BLOCKS[version - 1]);
  const room = blocks.reduce((sum, size) => sum + size, 0);
  const bits = [[4, 4], [bytes.length, version < 10 ? 8 : 16], ...[...bytes].map((byte) => [byte, 8])];
  let text = bits.map(([value, width]) => value.toString(2).padStart(width, "0")).join("");
  text = text.padEnd(Math.min(text.length + 4, room * 8), "0");
  text = text.padEnd(Math.ceil(text.length / 8) * 8, "0");
  const data = text.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2));
  for (let filler = 0xec; data.length < room; filler ^= 0xec ^ 0x11) data.push(filler);
  let from = 0;
  const parts = blocks.map((size) => data.slice(from, (from += size)));
  const corrections = parts.map((part) => correction(part, BLOCKS[version - 1][0]));
  return [...interleaved(parts), ...interleaved(corrections)];
}

function interleaved(parts) {
  const longest = Math.max(...parts.map((part) => part.length));
  const found = [];
  for (let at = 0; at < longest; at += 1) for (const part of parts) if (at < part.length) found.push(part[at]);
  return found;
}

/** The remainder that protects a few bits, behind them. */
function protectedBits(value, polynomial, width) {
  let rest = value << width;
  for (let bit = 31; bit >= width; bit -= 1) if ((rest >>> bit) & 1) rest ^= polynomial << (bit - width);
  return (value << width) | rest;
}

/** The fixed patterns: a square of 0, 1, and null where data go. */
function frame(version) {
  const size = 17 + 4 * version;
  const modules = Array.from({ length: size }, () => new Array(size).fill(null));
  const square = (left, top, radius, dark) => {
    for (let y = -radius; y <= radius; y += 1)
      for (let x = -radius; x <= radius; x += 1)
        if (modules[top + y]?.[left + x] !== undefined) modules[top + y][left + x] = dark(Math.max(Math.abs(x), Math.abs(y))) ? 1 : 0;
  };
  const aligned = version === 1 ? [] : [6, ...ALIGNED[version - 1]];
  const last = size - 7;
  for (const top of aligned)
    for (const left of aligned) if (!(modules.length && corner(left, top, last))) square(left, top, 2, (distance) => distance !== 1);
  for (const [left, top] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(left, top, 4, (distance) => distance < 4 && distance !== 2);
  for (let at = 8; at < size - 8; at += 1) modules[6][at] = modules[at][6] = (at + 1) % 2;
  for (let at = 0; at < 9; at += 1) {
    modules[8][at] ??= 0;
    modules[at][8] ??= 0;
  }
  for (let at = size - 8; at < size; at += 1) modules[8][at] = modules[at][8] = 0;
  modules[size - 8][8] = 1;
  if (version >= 7) {
    const bits = protectedBits(version, 0x1f25, 12);
    for (let n = 0; n < 18; n += 1) modules[Math.floor(n / 3)][size - 11 + (n % 3)] = modules[size - 11 + (n % 3)][Math.floor(n / 3)] = (bits >> n) & 1;
  }
  return modules;
}

const corner = (left, top, last) => (left === 6 && top === 6) || (left === 6 && top === last) || (left === last && top === 6);

function filled(fixed, words, mask) {
  const size = fixed.length;
  const modules = fixed.map((row) => [...row]);
  let bit = 0;
  for (let right = size - 1, upward = true; right > 0; right -= 2, upward = !upward) {
    if (right === 6) right -= 1; // the column of the timing pattern is left out
    for (let step = 0; step < size; step += 1) {
      const y = upward ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x] !== null) continue;
        const data = ((words[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1;
        modules[y][x] = data ^ (MASKS[mask](x, y) === 0 ? 1 : 0);
        bit += 1;
      }
    }
  }
  const format = protectedBits(mask, 0x537, 10) ^ 0x5412; // level M is 00
  for (let n = 0; n < 15; n += 1) {
    const value = (format >> n) & 1;
    if (n < 8) modules[8][size - 1 - n] = modules[n < 6 ? n : n + 1][8] = value;
    else modules[size - 15 + n][8] = modules[8][n === 8 ? 7 : 14 - n] = value;
  }
  return modules;
}

/** How hard a pattern is to read; the least counts. */
function penalty(modules) {
  const size = modules.length;
  const lines = [...modules, ...modules[0].map((_, x) => modules.map((row) => row[x]))].map((line) => line.join(""));
  let found = 0;
  for (const line of lines) {
    for (const run of line.match(/0{5,}|1{5,}/g) || []) found += run.length - 2;
    for (let at = 0; at + 11 <= size; at += 1) if (/^(10111010000|00001011101)/.test(line.slice(at, at + 11))) found += 40;
  }
  for (let y = 1; y < size; y += 1)
    for (let x = 1; x < size; x += 1) {
      const sum = modules[y][x] + modules[y - 1][x] + modules[y][x - 1] + modules[y - 1][x - 1];
      if (sum % 4 === 0) found += 3;
    }
  const dark = modules.flat().reduce((sum, value) => sum + value, 0);
  return found + 10 * Math.floor(Math.abs((100 * dark) / size ** 2 - 50) / 5);
}

/** The square of modules (1 is dark) that says this text. Raises RangeError if the text is too long. */
export function matrix(text) {
  const bytes = new TextEncoder().encode(text);
  const version = 1 + BLOCKS.findIndex((blocks, at) => bytes.length + (at < 9 ? 2 : 3) <= sizes(blocks).reduce((sum, size) => sum + size, 0));
  if (!version) throw new RangeError("too long for a code of this kind");
  const words = codewords(bytes, version);
  const tried = MASKS.map((_, mask) => filled(frame(version), words, mask));
  const least = Math.min(...tried.map(penalty));
  return tried.find((modules) => penalty(modules) === least);
}

/** The code as a picture, dark on light whatever the colours of the page. */
export function picture(text, said) {
  const modules = matrix(text);
  const size = modules.length + 8; // with the quiet zone
  const svg = document.createElementNS(SVG, "svg");
  const dark = modules.flatMap((row, y) => row.map((value, x) => (value ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  for (const [name, value] of [["viewBox", `0 0 ${size} ${size}`], ["role", "img"], ["aria-label", said], ["shape-rendering", "crispEdges"]]) svg.setAttribute(name, value);
  for (const [d, fill] of [[`M0 0h${size}v${size}h-${size}z`, "#fff"], [dark, "#000"]]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    path.setAttribute("fill", fill);
    svg.append(path);
  }
  return svg;
}
