//! `left4me --reset-admin` and `left4me promote-admin`: the way back in.

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::client::Refused;
use super::reach::{Reach, hand_over};
use crate::config::Config;
use crate::domain::Refusal;
use crate::model::user::Actor;

/// Makes or restores an admin and prints the name and a new password, two lines.
pub async fn reset(config: &Config, username: &str) -> Result<()> {
    let (name, password) = match Reach::find(config).await? {
        Reach::Daemon(client) => {
            let answer = client.post("/control/reset-admin", &json!({"username": username})).await?;
            let text = |key: &str| answer[key].as_str().map(ToOwned::to_owned);
            text("username")
                .zip(text("password"))
                .context("the daemon answered without a password; is it another version?")?
        }
        Reach::Here(domain) => {
            let username = username.to_owned();
            let result = tokio::task::spawn_blocking(move || domain.reset_admin(&username)).await?;
            hand_over(config)?;
            let (user, password) = result?;
            (user.username, password)
        }
    };
    println!("username: {name}\npassword: {password}");
    Ok(())
}

/// Makes a user an admin.
pub async fn promote(config: &Config, username: &str) -> Result<()> {
    let result = match Reach::find(config).await? {
        Reach::Daemon(client) => {
            let answer = client.post("/control/promote-admin", &json!({"username": username})).await;
            answer.map(|_| ()).map_err(|error| match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == 404 => not_found(),
                Some(_) | None => error,
            })
        }
        Reach::Here(domain) => {
            let username = username.to_owned();
            let promoted =
                tokio::task::spawn_blocking(move || domain.promote_admin(&Actor::system(), &username)).await?;
            hand_over(config)?;
            match promoted {
                Ok(_) => Ok(()),
                Err(Refusal::NotFound(_)) => Err(not_found()),
                Err(refusal) => Err(refusal.into()),
            }
        }
    };
    result?;
    println!("{username} is an admin now");
    Ok(())
}

fn not_found() -> anyhow::Error {
    anyhow!("user not found")
}
