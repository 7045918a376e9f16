/* Z-buffer rasteriser and shader for portraits: triangle ids and barycentrics come out too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SKIN, EYE, TEETH, TONGUE, HAIR, LASH, FRAME, BEARD };
enum { ATTRS = 12 }; /* rest xyz, tangent xyz, inside mouth, lip, hairline, cover, u, v */

typedef struct {
  float scale, centre_y, camera_z;
  float light[3], key[3], fill[3], sky[3], ground[3], rim[3];
  float hair[3], hair_shine, curl;
  float cloth[3], cloth2[3], cloth_kind, collar_front, collar_back;
  float iris[3], eye_centre[6], gaze[3];
  float lip[3], mouth[3], chin_y;
  float tex_y0, tex_height, exposure;
  float glare, glare_at; /* what glasses reflect, and where across a lens */
} Shading;

static float clampf(float x, float a, float b) { return x < a ? a : (x > b ? b : x); }
static float step3(float a, float b, float x) {
  x = clampf((x - a) / (b - a), 0, 1);
  return x * x * (3 - 2 * x);
}
static float hash2(int x, int y) {
  unsigned h = (unsigned)x * 374761393u + (unsigned)y * 668265263u;
  h = (h ^ (h >> 13)) * 1274126177u;
  return (float)((h ^ (h >> 16)) & 0xffffffu) / 16777215.0f;
}
static float noise(float x, float y) {
  int i = (int)floorf(x), j = (int)floorf(y);
  float u = x - i, v = y - j;
  u = u * u * (3 - 2 * u);
  v = v * v * (3 - 2 * v);
  return (hash2(i, j) * (1 - u) + hash2(i + 1, j) * u) * (1 - v) +
         (hash2(i, j + 1) * (1 - u) + hash2(i + 1, j + 1) * u) * v;
}
static float dot3(const float *a, const float *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
static void unit3(float *a) {
  float l = 1 / sqrtf(dot3(a, a) + 1e-12f);
  a[0] *= l; a[1] *= l; a[2] *= l;
}
static void mix3(float *a, const float *b, float t) {
  for (int k = 0; k < 3; k++) a[k] += (b[k] - a[k]) * t;
}
static float strands(const Shading *p, float u, float v) {
  float fine = noise(u * 34, v * 3) * .5f + noise(u * 75, v * 5) * .5f;
  float curls = noise(u * 17 + 3 * noise(v * 9, u * 5), v * 17) * .6f + noise(u * 41, v * 41) * .4f;
  return fine * (1 - p->curl) + curls * p->curl;
}

void vertex_normals(int vertices, const float *pos, int faces, const int *tri, float *out) {
  memset(out, 0, sizeof(float) * 3 * vertices);
  for (int i = 0; i < faces; i++) {
    const float *a = pos + 3 * tri[3 * i], *b = pos + 3 * tri[3 * i + 1], *c = pos + 3 * tri[3 * i + 2];
    float e[3], f[3];
    for (int k = 0; k < 3; k++) { e[k] = b[k] - a[k]; f[k] = c[k] - a[k]; }
    float n[3] = {e[1] * f[2] - e[2] * f[1], e[2] * f[0] - e[0] * f[2], e[0] * f[1] - e[1] * f[0]};
    for (int k = 0; k < 3; k++)
      for (int j = 0; j < 3; j++) out[3 * tri[3 * i + k] + j] += n[j];
  }
  for (int i = 0; i < vertices; i++) unit3(out + 3 * i);
}

/* screen: [V,3] pixel x, pixel y, depth (larger is nearer) */
void project(int vertices, const float *pos, int size, const Shading *p, float *screen) {
  for (int i = 0; i < vertices; i++) {
    const float *q = pos + 3 * i;
    float k = p->scale * size * p->camera_z / (p->camera_z - q[2]);
    screen[3 * i] = size * .5f + k * q[0];
    screen[3 * i + 1] = size * .5f - k * (q[1] - p->centre_y);
    screen[3 * i + 2] = q[2];
  }
}

static int covered(const Shading *p, const int *t, int part, const float *attr, float w0, float w1, float w2) {
  if (part != HAIR && part != BEARD && part != LASH) return 1;
  const float *a = attr + ATTRS * t[0], *b = attr + ATTRS * t[1], *c = attr + ATTRS * t[2];
  float cover = w0 * a[9] + w1 * b[9] + w2 * c[9];
  if (cover >= 1) return 1;
  float u = w0 * a[10] + w1 * b[10] + w2 * c[10], v = w0 * a[11] + w1 * b[11] + w2 * c[11];
  float s = part == BEARD ? noise(u * 46, v * 30) * .5f + noise(u * 90, v * 60) * .5f
                          : strands(p, u, v * .6f);
  return .12f + .8f * s < cover;
}

void rasterise(int faces, const int *tri, const int *part, const float *attr, const float *screen,
               int size, const Shading *p, float *depth, int *ids, float *bary) {
  for (int i = 0; i < size * size; i++) { depth[i] = -1e9f; ids[i] = -1; }
  for (int i = 0; i < faces; i++) {
    const int *t = tri + 3 * i;
    const float *a = screen + 3 * t[0], *b = screen + 3 * t[1], *c = screen + 3 * t[2];
    float area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    int two_sided = part[i] >= HAIR && part[i] != BEARD;
    if ((area >= 0 && !two_sided) || fabsf(area) < 1e-7f) continue;
    int x0 = (int)floorf(fminf(a[0], fminf(b[0], c[0]))), x1 = (int)ceilf(fmaxf(a[0], fmaxf(b[0], c[0])));
    int y0 = (int)floorf(fminf(a[1], fminf(b[1], c[1]))), y1 = (int)ceilf(fmaxf(a[1], fmaxf(b[1], c[1])));
    if (x0 < 0) x0 = 0;
    if (y0 < 0) y0 = 0;
    if (x1 > size - 1) x1 = size - 1;
    if (y1 > size - 1) y1 = size - 1;
    float inv = 1 / area;
    for (int y = y0; y <= y1; y++)
      for (int x = x0; x <= x1; x++) {
        float px = x + .5f - a[0], py = y + .5f - a[1];
        float w1 = (px * (c[1] - a[1]) - py * (c[0] - a[0])) * inv;
        float w2 = ((b[0] - a[0]) * py - (b[1] - a[1]) * px) * inv, w0 = 1 - w1 - w2;
        if (w0 < 0 || w1 < 0 || w2 < 0) continue;
        float z = w0 * a[2] + w1 * b[2] + w2 * c[2];
        int q = y * size + x;
        if (z <= depth[q] || !covered(p, t, part[i], attr, w0, w1, w2)) continue;
        depth[q] = z; ids[q] = i; bary[2 * q] = w1; bary[2 * q + 1] = w2;
      }
  }
}

static void cloth_colour(const Shading *p, const float *o, float below, float *al) {
  float weave = .93f + .14f * noise(o[0] * 70, o[1] * 70);
  float second = 0;
  if (p->cloth_kind > 2.5f) second = step3(.42f, .47f, fabsf(fmodf(o[1] * 3.2f + 40, 1) - .5f) * 2 - .1f);
  else if (p->cloth_kind > 1.5f) second = o[2] > .1f ? step3(.03f, -.03f, fabsf(o[0]) - .12f - below * .75f) : 0;
  memcpy(al, p->cloth, 12);
  mix3(al, p->cloth2, second);
  float rib = below < .13f && p->cloth_kind != 2 ? .86f + .1f * step3(.3f, .7f, fabsf(fmodf(atan2f(o[0], o[2] - .2f) * 26 + 400, 1) - .5f) * 2) : 1;
  float edge = step3(0, .03f, below);
  float lapel = p->cloth_kind == 2 && o[2] > .1f ? 1 - .45f * expf(-powf((fabsf(o[0]) - .14f - below * .75f) / .022f, 2)) : 1;
  for (int k = 0; k < 3; k++) al[k] *= weave * rib * (.6f + .4f * edge) * lapel;
}

static void eye_colour(const Shading *p, const float *o, float *al, float *occlusion) {
  int side = o[0] > 0 ? 0 : 1;
  const float *centre = p->eye_centre + 3 * side;
  float d[3] = {o[0] - centre[0], o[1] - centre[1], o[2] - centre[2]};
  unit3(d);
  float angle = acosf(clampf(dot3(d, p->gaze), -1, 1)), iris = .52f;
  al[0] = .90f; al[1] = .885f; al[2] = .87f;
  float red = step3(.7f, 1.2f, angle);
  al[1] *= 1 - .10f * red; al[2] *= 1 - .12f * red;
  float ring = step3(iris - .2f, iris - .02f, angle), in = 1 - step3(iris - .06f, iris + .04f, angle);
  float col[3];
  float fib = .85f + .3f * noise(atan2f(d[1] - p->gaze[1], d[0] - p->gaze[0]) * 6, angle * 9);
  for (int k = 0; k < 3; k++) col[k] = p->iris[k] * (1.3f - .95f * ring) * fib;
  mix3(al, col, in);
  float black[3] = {.012f, .012f, .014f};
  mix3(al, black, 1 - step3(.20f, .25f, angle));
  *occlusion = 1.0f - .42f * step3(.02f, .36f, d[1]) - .15f * step3(.75f, 1.2f, angle);
}

/* A lens is no surface here: what it reflects lies over the skin and the eye behind it. */
static float glare_over(const Shading *p, const float *o) {
  const float *c = p->eye_centre + (o[0] > 0 ? 0 : 3);
  float x = (o[0] - c[0] * 1.06f) / .225f, y = (o[1] - c[1] + .03f) / .175f;
  if (o[2] < .6f || x * x + y * y > 1) return 0;
  float across = x * .8f + y * .6f - p->glare_at;
  float band = expf(-across * across / .05f) + .6f * expf(-powf((across - .55f) / .12f, 2));
  return p->glare * (.12f + .88f * fminf(band, 1)) * step3(1, .85f, x * x + y * y);
}

static void shade(const Shading *p, int part, const float *at, float *n, const float *tex, int tex_size,
                  float *out) {
  const float *o = at;
  float al[3], spec = 0, gloss = 20, wrap = .3f, occ = 1, sss = 0;
  int mouth_inside = part == TEETH || part == TONGUE || part == EYE;
  if (part == SKIN) {
    float below_line = p->collar_back + (p->collar_front - p->collar_back) * step3(-.3f, .75f, o[2]);
    float below = below_line - o[1];
    float u = clampf((o[0] + 1) * .5f, 0, 1) * (tex_size - 1), v = clampf(1 - (o[1] - p->tex_y0) / p->tex_height, 0, 1) * (tex_size - 1);
    int i = (int)u, j = (int)v;
    if (i > tex_size - 2) i = tex_size - 2;
    if (j > tex_size - 2) j = tex_size - 2;
    float fx = u - i, fy = v - j;
    const float *t = tex + 3 * (j * tex_size + i);
    float front = step3(.45f, .85f, o[2]);
    const float *plain = tex; /* top-left texel holds the plain skin colour */
    for (int k = 0; k < 3; k++) {
      float c = (t[k] * (1 - fx) + t[3 + k] * fx) * (1 - fy) + (t[3 * tex_size + k] * (1 - fx) + t[3 * tex_size + 3 + k] * fx) * fy;
      al[k] = plain[k] + (c - plain[k]) * front;
    }
    float lip = step3(.32f, .72f, at[7]);
    mix3(al, p->lip, lip * .85f);
    spec = .11f + .28f * lip; gloss = 11 + 20 * lip; wrap = .35f; sss = 1;
    float az = atan2f(o[0], o[2] - .5f), hair = at[8] + .06f * (noise(az * 34, o[1] * 14) - .5f) + .03f * (noise(az * 90, o[1] * 30) - .5f);
    float scalp = step3(-.05f, .07f, hair);
    if (scalp > 0) {
      float c[3];
      for (int k = 0; k < 3; k++) c[k] = p->hair[k] * (.5f + .5f * noise(az * 80, o[1] * 7));
      mix3(al, c, scalp * .95f);
      spec *= 1 - scalp; sss *= 1 - scalp;
    }
    if (at[6] > .5f) {
      al[0] = .34f; al[1] = .09f; al[2] = .10f; spec = .02f; sss = 0;
      occ = clampf(.75f - (p->mouth[2] - o[2]) * 2.6f, .06f, 1); mouth_inside = 1;
    }
    occ *= .55f + .45f * step3(-.28f, .10f, o[1] - p->chin_y + .55f * step3(.7f, .2f, o[2]));
    if (below > 0) { cloth_colour(p, o, below, al); spec = .02f; sss = 0; wrap = .3f; occ = .82f + .18f * step3(0, .3f, below); }
    else occ *= .72f + .28f * step3(0, .09f, -below);
  } else if (part == EYE) {
    eye_colour(p, o, al, &occ); spec = 1.3f; gloss = 160; wrap = .7f;
  } else if (part == TEETH) {
    al[0] = .94f; al[1] = .90f; al[2] = .83f; spec = .25f; gloss = 40; wrap = .6f;
    float side = fabsf(o[0] - p->mouth[0]);
    occ = clampf(1.04f - (p->mouth[2] - .06f - o[2]) * 2.6f, .05f, 1) * clampf(1.25f - side * 1.7f, .3f, 1);
    float tooth = fabsf(fmodf(o[0] * 11 + 50.5f, 1) - .5f) * 2;
    for (int k = 0; k < 3; k++) al[k] *= .86f + .14f * step3(.98f, .8f, tooth);
  } else if (part == TONGUE) {
    al[0] = .62f; al[1] = .25f; al[2] = .26f; spec = .08f; gloss = 25; wrap = .5f;
    occ = clampf(.80f - (p->mouth[2] - .05f - o[2]) * 2.2f, .06f, 1);
  } else if (part == HAIR) {
    float s = strands(p, at[10], at[11]);
    for (int k = 0; k < 3; k++) al[k] = p->hair[k] * (.66f + .62f * s);
    occ = .45f + .55f * clampf(at[8], 0, 1); wrap = .35f;
    if (n[2] < 0) occ *= .8f;
    float tang[3] = {at[3], at[4], at[5]}, h[3] = {p->light[0], p->light[1] + .35f, p->light[2] + 1};
    unit3(tang); unit3(h);
    float th = dot3(tang, h), si = sqrtf(clampf(1 - th * th, 0, 1));
    float band = powf(si, 28) * p->hair_shine * (.35f + 1.1f * s);
    for (int k = 0; k < 3; k++) al[k] += band * (.35f + .65f * p->hair[k]) * .5f;
    spec = 0;
  } else if (part == BEARD) {
    float s = noise(at[10] * 46, at[11] * 30) * .5f + noise(at[10] * 90, at[11] * 60) * .5f;
    for (int k = 0; k < 3; k++) al[k] = p->hair[k] * (.75f + 1.1f * s);
    spec = .03f; wrap = .35f; occ = .75f + .25f * step3(-.2f, .12f, o[1] - p->chin_y);
  } else if (part == FRAME) {
    al[0] = .10f; al[1] = .09f; al[2] = .10f; spec = .7f; gloss = 30;
  } else {
    al[0] = .05f; al[1] = .035f; al[2] = .03f;
  }
  float nl = dot3(n, p->light);
  float fill_dir[3] = {-p->light[0] * 1.3f, .1f, .75f};
  unit3(fill_dir);
  float nf = clampf((dot3(n, fill_dir) + .3f) / 1.3f, 0, 1);
  float up = .5f + .5f * n[1], h[3] = {p->light[0], p->light[1], p->light[2] + 1};
  unit3(h);
  float nh = clampf(dot3(n, h), 0, 1), fres = powf(1 - clampf(n[2], 0, 1), 3);
  float shine = spec * powf(nh, gloss) * (nl > 0 ? 1 : 0);
  float rim = fres * clampf(.35f - n[0] * p->light[0] * 1.6f + .3f * n[1], 0, 1) * (mouth_inside ? 0 : part == HAIR ? .45f : 1);
  static const float bleed[3] = {.34f, .06f, .0f};
  for (int k = 0; k < 3; k++) {
    float w = wrap + sss * bleed[k] * .6f;
    float d = clampf((nl + w) / (1 + w), 0, 1);
    d *= d * .25f + .75f;
    float lit = p->key[k] * d + p->fill[k] * nf + p->sky[k] * up + p->ground[k] * (1 - up);
    float a = al[k] * al[k];
    float lin = (a * lit * occ + shine * p->key[k] * .28f * occ + rim * p->rim[k] * (.10f + a) * occ) * p->exposure;
    lin = lin / (1 + .16f * lin * lin); /* soft shoulder keeps highlights from clipping */
    out[k] = sqrtf(clampf(lin, 0, 1));
  }
  if (p->glare > 0 && (part == SKIN || part == EYE || part == LASH)) {
    static const float sheen[3] = {.92f, .96f, 1.f};
    mix3(out, sheen, glare_over(p, o));
  }
}

void shade_all(const int *tri, const int *part, const float *attr, const float *normal, int size,
               const int *ids, const float *bary, const float *tex, int tex_size, const float *back,
               const Shading *p, float *out) {
  for (int q = 0; q < size * size; q++) {
    int i = ids[q];
    if (i < 0) { memcpy(out + 3 * q, back + 3 * q, 12); continue; }
    const int *t = tri + 3 * i;
    float w[3] = {1 - bary[2 * q] - bary[2 * q + 1], bary[2 * q], bary[2 * q + 1]}, at[ATTRS] = {0}, n[3] = {0};
    for (int c = 0; c < 3; c++) {
      for (int k = 0; k < ATTRS; k++) at[k] += w[c] * attr[ATTRS * t[c] + k];
      for (int k = 0; k < 3; k++) n[k] += w[c] * normal[3 * t[c] + k];
    }
    unit3(n);
    if (n[2] < 0 && part[i] >= HAIR) for (int k = 0; k < 3; k++) n[k] = -n[k];
    shade(p, part[i], at, n, tex, tex_size, out + 3 * q);
  }
}

/* Backward flow per supersample: where its surface point lies in the reference, minus where it
 * is here, in output pixels; state 0 unknown, 1 surface seen in the reference, 2 background.
 * Eyes turn without their vertices, so their flow stays unknown. Teeth and tongue lie so close
 * behind the lips that depth alone cannot tell whether the reference shows them. */
void backward_flow(int size, int factor, const int *tri, const int *part, const int *ids, const float *bary,
                   const float *ref_screen, const float *ref_depth, const int *ref_ids, float *flow,
                   unsigned char *state) {
  for (int y = 0; y < size; y++)
    for (int x = 0; x < size; x++) {
      int q = y * size + x, i = ids[q];
      flow[2 * q] = flow[2 * q + 1] = 0;
      if (i < 0) { state[q] = ref_ids[q] < 0 ? 2 : 0; continue; }
      const int *t = tri + 3 * i;
      float w1 = bary[2 * q], w2 = bary[2 * q + 1], w0 = 1 - w1 - w2, r[3];
      for (int k = 0; k < 3; k++) r[k] = w0 * ref_screen[3 * t[0] + k] + w1 * ref_screen[3 * t[1] + k] + w2 * ref_screen[3 * t[2] + k];
      flow[2 * q] = (r[0] - x - .5f) / factor;
      flow[2 * q + 1] = (r[1] - y - .5f) / factor;
      int rx = (int)floorf(r[0]), ry = (int)floorf(r[1]);
      int inside = rx >= 0 && ry >= 0 && rx < size && ry < size;
      int seen = inside && r[2] > ref_depth[ry * size + rx] - .08f && ref_depth[ry * size + rx] > -1e8f;
      int p = part[i];
      if (seen && (p == TEETH || p == TONGUE)) {
        int there = ref_ids[ry * size + rx];
        seen = there >= 0 && part[there] == p;
      }
      state[q] = seen && p != EYE ? 1 : 0;
    }
}

/* Nearest hit of rays from one point: distance per ray, 0 when none. */
void cast_rays(int rays, const float *dirs, const float *origin, int faces, const int *tri, const float *pos,
               float *hit) {
  for (int r = 0; r < rays; r++) {
    const float *d = dirs + 3 * r;
    float best = 0;
    for (int i = 0; i < faces; i++) {
      const float *a = pos + 3 * tri[3 * i], *b = pos + 3 * tri[3 * i + 1], *c = pos + 3 * tri[3 * i + 2];
      float e[3], f[3], s[3];
      for (int k = 0; k < 3; k++) { e[k] = b[k] - a[k]; f[k] = c[k] - a[k]; s[k] = origin[k] - a[k]; }
      float h[3] = {d[1] * f[2] - d[2] * f[1], d[2] * f[0] - d[0] * f[2], d[0] * f[1] - d[1] * f[0]};
      float det = dot3(e, h);
      if (fabsf(det) < 1e-9f) continue;
      float inv = 1 / det, u = inv * dot3(s, h);
      if (u < 0 || u > 1) continue;
      float g[3] = {s[1] * e[2] - s[2] * e[1], s[2] * e[0] - s[0] * e[2], s[0] * e[1] - s[1] * e[0]};
      float v = inv * dot3(d, g);
      if (v < 0 || u + v > 1) continue;
      float t = inv * dot3(f, g);
      if (t > best) best = t; /* the outermost surface counts */
    }
    hit[r] = best;
  }
}
