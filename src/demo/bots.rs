//! Who plays on the simulated game: visitors that come and go, and the survivor bots that fill their team.
//!
//! Driven by [`super::game`] with the seconds since the start. The same seed gives the same visits at the same seconds.

/// Names of visitors; some hold what real names hold: quotes, hashes, semicolons.
const NAMES: [&str; 16] = [
    "Kessler",
    "tank dodger",
    "Ms. Pills",
    "0125",
    "Dr \"Hops\" Ewing",
    "boomer#1",
    "Nadja",
    "PAIN PILLS HERE",
    "rye;bread",
    "Olaf",
    "witch whisperer",
    "[L4M] Jun",
    "spitter of truth",
    "Mäx",
    "gas can",
    "Zoë",
];
/// The survivors of the second campaign set.
const SURVIVORS: [&str; 4] = ["Nick", "Coach", "Ellis", "Rochelle"];
/// Seats of people in a cooperative game.
const SEATS: usize = 4;

/// A small generator of pseudo-random numbers (xorshift64*): no secrets depend on it.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound` (0 for 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).checked_rem(bound).unwrap_or(0)
    }
}

/// Somebody on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// Number of the visit, never used again.
    pub userid: u32,
    /// Name.
    pub name: String,
    /// Account number within `STEAM_1:0:…`; `None` for a bot.
    pub account: Option<u32>,
    /// Second of arrival.
    pub since: u64,
    /// Second of departure.
    until: u64,
    /// Infected killed.
    pub score: i32,
}

impl Player {
    /// The Steam id as `status` writes it.
    pub fn steam_id(&self) -> String {
        self.account.map_or_else(|| "BOT".into(), |account| format!("STEAM_1:{}:{}", account & 1, account >> 1))
    }

    /// Address of the client, from the block that documentation uses.
    pub fn address(&self) -> String {
        format!("198.51.100.{}:27005", self.userid % 250 + 1)
    }
}

/// What happened on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// Came.
    Joined(Player),
    /// Went, with the reason.
    Left(Player, String),
}

/// All players.
#[derive(Debug)]
pub struct Crowd {
    dice: Dice,
    players: Vec<Player>,
    next_userid: u32,
    next_arrival: u64,
    now: u64,
}

impl Crowd {
    /// Nobody yet; the first visitor comes three seconds after the start.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), players: Vec::new(), next_userid: 2, next_arrival: 3, now: 0 }
    }

    /// Everybody, people first.
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// How many people.
    pub fn humans(&self) -> usize {
        self.players.iter().filter(|player| player.account.is_some()).count()
    }

    /// How many bots.
    pub fn bots(&self) -> usize {
        self.players.len() - self.humans()
    }

    /// Lives through every second up to `now`.
    pub fn advance(&mut self, now: u64) -> Vec<Visit> {
        let mut visits = Vec::new();
        // After a long sleep of the box only the last hour is lived through.
        self.now = self.now.max(now.saturating_sub(3600));
        while self.now < now {
            self.now += 1;
            self.second(&mut visits);
        }
        visits
    }

    fn second(&mut self, visits: &mut Vec<Visit>) {
        let now = self.now;
        let gone: Vec<Player> = self.players.extract_if(.., |player| player.until <= now).collect();
        visits.extend(gone.into_iter().map(|player| Visit::Left(player, "Disconnect by user.".into())));
        if now >= self.next_arrival {
            self.next_arrival = now + 5 + self.dice.below(25);
            if self.humans() < SEATS {
                let player = self.visitor();
                visits.push(Visit::Joined(player.clone()));
                self.players.insert(self.humans(), player);
            }
        }
        if !self.players.is_empty() && self.dice.below(4) == 0 {
            let index = self.dice.below(self.players.len() as u64) as usize;
            self.players[index].score += 1 + self.dice.below(3) as i32;
        }
        self.fill(visits);
    }

    fn visitor(&mut self) -> Player {
        let free: Vec<&str> =
            NAMES.iter().copied().filter(|name| self.players.iter().all(|player| player.name != *name)).collect();
        let name = free[self.dice.below(free.len() as u64) as usize].to_owned();
        let account = 20_000_000 + self.dice.below(900_000_000) as u32;
        let stay = 30 + self.dice.below(300);
        self.player(name, Some(account), self.now + stay)
    }

    fn player(&mut self, name: String, account: Option<u32>, until: u64) -> Player {
        let userid = self.next_userid;
        self.next_userid += 1;
        Player { userid, name, account, since: self.now, until, score: 0 }
    }

    /// Bots fill the team while somebody plays, and go with the last one.
    fn fill(&mut self, visits: &mut Vec<Visit>) {
        let wanted = if self.humans() == 0 { 0 } else { SEATS - self.humans().min(SEATS) };
        while self.bots() > wanted {
            if let Some(player) = self.players.pop() {
                visits.push(Visit::Left(player, "Kicked by Console".into()));
            }
        }
        while self.bots() < wanted {
            let name = SURVIVORS.iter().find(|name| self.players.iter().all(|player| player.name != **name));
            let Some(name) = name else { break };
            let player = self.player((*name).to_owned(), None, u64::MAX);
            visits.push(Visit::Joined(player.clone()));
            self.players.push(player);
        }
    }

    /// Shows somebody the door, by name or number; `None`: no such player.
    pub fn kick(&mut self, who: &str) -> Option<Player> {
        let number = who.trim_start_matches('#').parse::<u32>().ok();
        let index = self.players.iter().position(|player| player.name == who || Some(player.userid) == number)?;
        Some(self.players.remove(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_visits_however_time_is_cut() {
        let mut whole = Crowd::new(27015);
        let mut pieces = Crowd::new(27015);
        let visits = whole.advance(600);
        let cut: Vec<Visit> = (0..=600).step_by(7).chain([600]).flat_map(|now| pieces.advance(now)).collect();
        assert_eq!(visits, cut);
        assert_ne!(visits, Crowd::new(27016).advance(600));
    }

    #[test]
    fn people_come_and_go_and_bots_fill_the_team_only_while_somebody_plays() {
        let mut crowd = Crowd::new(1);
        let (mut came, mut went) = (0, 0);
        for now in 0..3000 {
            for visit in crowd.advance(now) {
                match visit {
                    Visit::Joined(_) => came += 1,
                    Visit::Left(..) => went += 1,
                }
            }
            assert!(crowd.players().len() == 4 || crowd.players().is_empty(), "{now}");
            assert_eq!(crowd.humans() == 0, crowd.bots() == 0 && crowd.players().is_empty(), "{now}");
        }
        assert!(came > 20 && went > 20, "{came} {went}");
    }

    #[test]
    fn a_kick_takes_a_name_or_a_number() {
        let mut crowd = Crowd::new(1);
        crowd.advance(10);
        let first = crowd.players()[0].clone();
        assert_eq!(crowd.kick(&first.name).unwrap().userid, first.userid);
        let second = crowd.players()[0].clone();
        assert_eq!(crowd.kick(&format!("#{}", second.userid)).unwrap().name, second.name);
        assert!(crowd.kick("nobody").is_none());
    }
}
