/** Standard deviations as parts of the box's height, after DeepSORT (Wojke et al. 2017, arXiv:1703.07402). */
const POSITION_WEIGHT = 1 / 20;
const VELOCITY_WEIGHT = 1 / 16;

/** One coordinate that moves at a nearly constant speed. */
type Axis = { position: number; velocity: number; pp: number; pv: number; vv: number };

export type CentredBox = { cx: number; cy: number; width: number; height: number };

export type BoxFilter = {
  /** Moves the estimate on by so many seconds and returns it. */
  predict(seconds: number): CentredBox;
  /** Takes in a measured box. */
  update(measured: CentredBox): void;
};

function predictAxis(axis: Axis, seconds: number, scale: number): void {
  const { pp, pv, vv } = axis;
  axis.position += axis.velocity * seconds;
  axis.pp = pp + 2 * seconds * pv + seconds * seconds * vv + (POSITION_WEIGHT * scale) ** 2 * seconds;
  axis.pv = pv + seconds * vv;
  axis.vv = vv + (VELOCITY_WEIGHT * scale * 8) ** 2 * seconds;
}

function updateAxis(axis: Axis, measured: number, scale: number): void {
  const { pp, pv, vv } = axis;
  const innovation = pp + (POSITION_WEIGHT * scale) ** 2;
  const gainPosition = pp / innovation;
  const gainVelocity = pv / innovation;
  const residual = measured - axis.position;
  axis.position += gainPosition * residual;
  axis.velocity += gainVelocity * residual;
  axis.pp = (1 - gainPosition) * pp;
  axis.pv = (1 - gainPosition) * pv;
  axis.vv = vv - gainVelocity * pv;
}

/**
 * A Kalman filter for a box under constant velocity, as in SORT (Bewley et al. 2016, arXiv:1602.00763). All noise is
 * diagonal, so centre x, centre y, width and height are four filters of two states each. Pixels and seconds.
 */
export function filterBox(first: CentredBox): BoxFilter {
  const start = (position: number): Axis => {
    const scale = first.height;
    return { position, velocity: 0, pp: (2 * POSITION_WEIGHT * scale) ** 2, pv: 0, vv: (2 * scale) ** 2 };
  };
  const axes = { cx: start(first.cx), cy: start(first.cy), width: start(first.width), height: start(first.height) };
  const current = (): CentredBox => ({
    cx: axes.cx.position,
    cy: axes.cy.position,
    width: Math.max(1, axes.width.position),
    height: Math.max(1, axes.height.position),
  });
  return {
    predict(seconds) {
      const scale = Math.max(1, axes.height.position);
      // Sizes keep still while nothing is seen: a box that shrinks by itself is never met again.
      axes.width.velocity = 0;
      axes.height.velocity = 0;
      for (const axis of Object.values(axes)) predictAxis(axis, seconds, scale);
      return current();
    },
    update(measured) {
      const scale = Math.max(1, measured.height);
      updateAxis(axes.cx, measured.cx, scale);
      updateAxis(axes.cy, measured.cy, scale);
      updateAxis(axes.width, measured.width, scale);
      updateAxis(axes.height, measured.height, scale);
    },
  };
}
