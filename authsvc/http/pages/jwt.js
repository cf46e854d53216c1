// Reading a JWT and checking its signature, in the browser alone.

const ALGORITHMS = {
  ES256: [{ name: "ECDSA", namedCurve: "P-256" }, { name: "ECDSA", hash: "SHA-256" }],
  EdDSA: [{ name: "Ed25519" }, { name: "Ed25519" }],
  RS256: [{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, { name: "RSASSA-PKCS1-v1_5" }],
};

/** A text is no JWT; the message says why, in a sentence. */
export class NoToken extends Error {}

function bytes(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new NoToken("A part holds characters that base64url does not have.");
  try {
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(plain, (character) => character.charCodeAt(0));
  } catch {
    throw new NoToken("A part is not base64url: has the token been cut short?");
  }
}

function object(text, name) {
  let read;
  try {
    read = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes(text)));
  } catch (error) {
    throw error instanceof NoToken ? error : new NoToken(`The ${name} is not JSON: has the token been cut short?`);
  }
  if (typeof read !== "object" || read === null || Array.isArray(read)) throw new NoToken(`The ${name} is not a JSON object.`);
  return read;
}

/** Return the three parts, the header and the claims. Raises NoToken. */
export function decode(token) {
  const parts = token.split(".");
  if (parts.length === 5) throw new NoToken("This token is encrypted (a JWE). Only its recipient can read it.");
  if (parts.length !== 3) throw new NoToken(`A JWT has three parts with dots between them; this has ${parts.length}.`);
  const [header, claims] = [object(parts[0], "header"), object(parts[1], "payload")];
  return { parts, header, claims };
}

/** Return a verdict on the signature: [tone, sentence]. `keys` are the JWKs of the key set; null if it cannot be had. */
export async function verdict({ parts, header }, keys) {
  const algorithm = Object.hasOwn(ALGORITHMS, header.alg) ? ALGORITHMS[header.alg] : undefined;
  if (header.alg === "none") return ["bad", "This token is not signed at all (alg is none). Nobody must accept it."];
  if (!algorithm) return ["bad", `This issuer signs with none of the kind ${JSON.stringify(header.alg)}.`];
  if (!keys) return ["warn", "The key set cannot be had just now, so the signature was not checked."];
  const jwk = keys.find((key) => key.kid === header.kid);
  if (!jwk) return ["bad", `No key of this issuer has the id ${JSON.stringify(header.kid)}. Another issuer signed this, or a key that is gone.`];
  if (jwk.alg !== header.alg) return ["bad", `The key ${jwk.kid} signs with ${jwk.alg}, and the token says ${header.alg}.`];
  return checked(parts, jwk, algorithm);
}

async function checked(parts, jwk, [forKey, forCheck]) {
  let key;
  try {
    const { kty, crv, x, y, n, e } = jwk;
    key = await crypto.subtle.importKey("jwk", { kty, crv, x, y, n, e }, forKey, false, ["verify"]);
  } catch {
    return ["warn", `This browser cannot check signatures of the kind ${jwk.alg}.`];
  }
  const signed = new TextEncoder().encode(`${parts[0]}.${parts[1]}`);
  const good = await crypto.subtle.verify(forCheck, key, bytes(parts[2]), signed);
  if (good) return ["good", `The signature is good: this issuer signed exactly this, with the key ${jwk.kid}.`];
  return ["bad", "The signature is wrong: header or claims are not what this issuer signed."];
}
