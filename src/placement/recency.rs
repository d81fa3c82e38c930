//! Which model sets leave a device when another asks for its memory: those that were used least recently, and no more of them
//! than it takes. What others use stays.

use crate::units::Bytes;

/// A set that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// When it was used last: more is later.
    pub used: u64,
    /// Whether it must stay: it is in use, or pinned.
    pub stays: bool,
    /// The pieces that it uses, by number; others may use them too.
    pub pieces: Vec<usize>,
}

/// Returns the sets that leave so that any memory becomes free at all, by their places in the list; none where none can.
/// `frees` is what each piece takes.
///
/// Usually that is the one that was used least recently. Where all that it takes is shared with others, it would leave for
/// nothing: then the piece whose last use is the longest ago is taken, with all its users.
#[must_use]
pub fn leaving(tenants: &[Tenant], frees: &[Bytes]) -> Vec<usize> {
    let users = |piece: usize| tenants.iter().enumerate().filter(move |(_, t)| t.pieces.contains(&piece));
    let candidate = |piece: usize| {
        let last = users(piece).map(|(_, t)| t.used).max()?;
        let may_leave = frees.get(piece).is_some_and(|bytes| *bytes > Bytes::ZERO) && users(piece).all(|(_, t)| !t.stays);
        may_leave.then(|| (last, users(piece).count(), piece))
    };
    let chosen = (0..frees.len()).filter_map(candidate).min();
    chosen.map(|(_, _, piece)| users(piece).map(|(at, _)| at).collect()).unwrap_or_default()
}

/// Returns what pieces take that only sets use which may leave.
#[must_use]
pub fn obtainable(tenants: &[Tenant], takes: &[Bytes]) -> Bytes {
    let stays = |piece: usize| tenants.iter().any(|t| t.stays && t.pieces.contains(&piece));
    takes.iter().enumerate().filter(|(piece, _)| !stays(*piece)).map(|(_, bytes)| *bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(used: u64, pieces: &[usize]) -> Tenant {
        Tenant { used, stays: false, pieces: pieces.to_vec() }
    }

    fn kept(tenant: Tenant) -> Tenant {
        Tenant { stays: true, ..tenant }
    }

    const MIB: [Bytes; 5] = [Bytes::mib(1); 5];

    #[test]
    fn the_least_recently_used_leaves_first() {
        assert_eq!(leaving(&[tenant(3, &[0]), tenant(1, &[1]), tenant(2, &[2])], &MIB), [1]);
        assert_eq!(leaving(&[tenant(3, &[0]), kept(tenant(1, &[1])), tenant(2, &[2])], &MIB), [2]);
        assert!(leaving(&[kept(tenant(1, &[0]))], &MIB).is_empty() && leaving(&[], &[]).is_empty());
    }

    #[test]
    fn what_others_use_stays_with_them() {
        // The oldest shares all that it has with the newest: it would leave for nothing.
        let tenants = [tenant(1, &[0]), tenant(3, &[0, 1]), tenant(2, &[2])];
        assert_eq!(leaving(&tenants, &MIB), [2]);
        assert_eq!(leaving(&tenants[..2], &MIB), [1], "its own part leaves before what both use");
        assert_eq!(leaving(&tenants[..1], &MIB), [0]);
        let pinned = [kept(tenant(9, &[0, 1])), tenant(1, &[1]), tenant(2, &[1, 3])];
        assert_eq!(leaving(&pinned, &MIB), [2]);
        assert_eq!(obtainable(&pinned, &MIB[..4]), Bytes::mib(2), "two pieces are of no set that stays");
    }

    #[test]
    fn nobody_leaves_for_nothing() {
        // What lies in the page cache frees nothing.
        assert_eq!(leaving(&[tenant(1, &[0]), tenant(2, &[1])], &[Bytes::ZERO, Bytes(1)]), [1]);
        assert!(leaving(&[tenant(1, &[0])], &[Bytes::ZERO]).is_empty());
    }
}
